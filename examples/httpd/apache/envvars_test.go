package apache

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestEnvvars: Debian's variables are known without its start script; the environment
// and Define count more.
func TestEnvvars(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		name = filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(name, []byte(text), 0o644))
		return name
	}
	config := write("apache2.conf", "Listen 80\nErrorLog ${APACHE_LOG_DIR}/error.log\nCustomLog ${APACHE_LOG_DIR}/access.log common\n")
	write("envvars", `# envvars
if [ "${APACHE_CONFDIR}" != "x" ] ; then
	SUFFIX="-x"
	export APACHE_LOG_DIR=/nowhere
fi
export APACHE_RUN_USER=www-data
export APACHE_BASE="`+dir+`"
export APACHE_LOG_DIR=${APACHE_BASE}$SUFFIX
export APACHE_LITERAL='$APACHE_BASE'
export LANG
`)
	load := func(o Options) {
		t.Helper()
		site, err := Load(config, o)
		require.NoError(t, err)
		require.Empty(t, site.Warnings())
		require.NoError(t, site.Close())
	}
	load(Options{})
	require.FileExists(t, filepath.Join(dir, "error.log"))
	require.FileExists(t, filepath.Join(dir, "access.log"))
	lookup := lookupEnv(dir)
	for name, want := range map[string]string{"APACHE_RUN_USER": "www-data", "APACHE_LITERAL": "$APACHE_BASE", "APACHE_LOG_DIR": dir} {
		value, ok := lookup(name)
		require.True(t, ok, name)
		require.Equal(t, want, value, name)
	}
	_, ok := lookup("APACHE_NOBODY_SETS_THIS")
	require.False(t, ok)
	_, ok = lookup("LANGUAGE_NOBODY_SETS")
	require.False(t, ok)

	for _, sub := range []string{"env", "defined"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, sub), 0o755))
	}
	t.Setenv("APACHE_LOG_DIR", filepath.Join(dir, "env"))
	load(Options{})
	require.FileExists(t, filepath.Join(dir, "env", "access.log"))
	load(Options{Define: map[string]string{"APACHE_LOG_DIR": filepath.Join(dir, "defined")}})
	require.FileExists(t, filepath.Join(dir, "defined", "access.log"))
}
