package files

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// tree makes files; those with "→" are links.
func tree(t *testing.T, files map[string]string) string {
	root, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	for name, text := range files {
		name = filepath.Join(root, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
		if to, ok := strings.CutPrefix(text, "→"); ok {
			require.NoError(t, os.Symlink(to, name))
		} else {
			require.NoError(t, os.WriteFile(name, []byte(text), 0o644))
		}
	}
	return root
}

func TestFind(t *testing.T) {
	root := tree(t, map[string]string{
		"a.txt": "a", "sub/b.txt": "b", "sub/deep/c": "c", "link": "→a.txt", "folder": "→sub", "nowhere": "→none", "loop": "→loop", "strict/l": "→../a.txt", "strict/f": "f", "owner/l": "→../a.txt", "owner/root": "→/proc/self/status",
	})
	require.NoError(t, syscall.Mkfifo(filepath.Join(root, "fifo"), 0o600))
	enter := func(dir string) (Links, error) {
		switch filepath.Base(dir) {
		case "strict":
			return LinksNever, nil
		case "owner":
			return LinksByOwner, nil
		}
		return LinksAlways, nil
	}
	for path, want := range map[string]struct {
		name, extra string
		kind        string // "file", "folder", "", "forbidden"
	}{
		"/a.txt":                       {"/a.txt", "", "file"},
		"/a.txt/":                      {"/a.txt", "/", "file"},
		"/a.txt/x/y":                   {"/a.txt", "/x/y", "file"},
		"/sub":                         {"/sub", "", "folder"},
		"/sub/":                        {"/sub", "", "folder"},
		"/sub/deep/c":                  {"/sub/deep/c", "", "file"},
		"/sub/none":                    {"/sub/none", "", ""},
		"/none/x/y":                    {"/none", "/x/y", ""},
		"/link":                        {"/link", "", "file"},
		"/folder/b.txt":                {"/folder/b.txt", "", "file"},
		"/nowhere":                     {"/nowhere", "", "forbidden"},
		"/loop":                        {"/loop", "", "forbidden"},
		"/strict/l":                    {"/strict/l", "", "forbidden"},
		"/strict/f":                    {"/strict/f", "", "file"},
		"/owner/l":                     {"/owner/l", "", "file"},
		"/fifo":                        {"/fifo", "", "forbidden"},
		"/a\x00b":                      {"/a\x00b", "", ""},
		"/" + strings.Repeat("n", 300): {"/" + strings.Repeat("n", 300), "", "forbidden"},
	} {
		found, err := Find(root+path, enter)
		got := ""
		switch {
		case err != nil:
			require.ErrorIs(t, err, ErrForbidden, path)
			got = "forbidden"
		case found.IsFile():
			got = "file"
		case found.IsDir():
			got = "folder"
		}
		require.Equal(t, want.kind, got, path)
		require.Equal(t, root+want.name, found.Name, path)
		require.Equal(t, want.extra, found.Extra, path)
		if got == "file" {
			f, err := found.Open(root)
			require.NoError(t, err, path)
			require.NoError(t, f.Close())
		}
	}
}

// TestOpenWhatWasFound: what takes the place of a file after it was found is not
// opened, be it a link to somewhere else or another file.
func TestOpenWhatWasFound(t *testing.T) {
	for name, replace := range map[string]func(name string) error{
		"link":   func(name string) error { return os.Symlink("/etc/passwd", name) },
		"inside": func(name string) error { return os.Symlink("other", name) },
		"file":   func(name string) error { return os.WriteFile(name, []byte("new"), 0o600) },
		"fifo":   func(name string) error { return syscall.Mkfifo(name, 0o600) },
	} {
		root := tree(t, map[string]string{"a": "a", "other": "o"})
		found, err := Find(root+"/a", func(string) (Links, error) { return LinksAlways, nil })
		require.NoError(t, err)
		require.NoError(t, os.Rename(root+"/a", root+"/b"))
		require.NoError(t, replace(root+"/a"))
		done := make(chan error, 1)
		go func() {
			f, err := found.Open(root)
			if err == nil {
				_ = f.Close()
			}
			done <- err
		}()
		select {
		case err = <-done:
			require.Error(t, err, name)
		case <-time.After(10 * time.Second):
			t.Fatal("waits", name)
		}
	}
}

func TestETag(t *testing.T) {
	root := tree(t, map[string]string{"a": "12345"})
	then := time.Date(2020, 1, 1, 0, 0, 0, 123456000, time.UTC)
	require.NoError(t, os.Chtimes(root+"/a", then, then))
	info, err := os.Stat(root + "/a")
	require.NoError(t, err)
	require.Equal(t, `"5-59b08c1fc2240"`, TagDefault.Of(info, time.Now()))
	require.Equal(t, `W/"5-59b08c1fc2240"`, TagDefault.Of(info, then.Add(time.Second)))
	require.Equal(t, `"5"`, TagSize.Of(info, time.Now()))
	require.Empty(t, ETag(0).Of(info, time.Now()))
}
