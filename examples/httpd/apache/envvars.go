package apache

import (
	"os"
	"path/filepath"
	"strings"
)

// debianEnvvars is where Debian's start script has the variables from that its
// configuration uses, such as APACHE_LOG_DIR.
const debianEnvvars = "/etc/apache2/envvars"

// lookupEnv returns what looks up ${NAME} in the environment. A name of Debian's,
// APACHE_…, that is not there is taken from where its start script has it: the file
// envvars beside the configuration, or else that in /etc/apache2.
func lookupEnv(root string) func(name string) (string, bool) {
	var files []map[string]string // nil until one is asked for
	return func(name string) (string, bool) {
		if value, ok := os.LookupEnv(name); ok || !strings.HasPrefix(name, "APACHE_") {
			return value, ok
		}
		if files == nil {
			files = []map[string]string{nil, readEnvvars(debianEnvvars)}
			if root != "" {
				files[0] = readEnvvars(filepath.Join(root, "envvars"))
			}
		}
		for _, vars := range files {
			if value, ok := vars[name]; ok {
				return value, true
			}
		}
		return "", false
	}
}

// readEnvvars reads the lines "export NAME=value" of a script; nothing if there is
// none. It runs nothing: what stands in conditions does not count, and variables
// that the lines before and the environment do not have are empty.
func readEnvvars(name string) map[string]string {
	text, err := readFile(name)
	if err != nil {
		return nil
	}
	vars := make(map[string]string)
	for line := range strings.Lines(string(text)) {
		rest, ok := strings.CutPrefix(strings.TrimRight(line, " \t\r\n"), "export ")
		name, value, given := strings.Cut(rest, "=")
		if !ok || !given {
			continue
		}
		value, literal := strings.CutPrefix(value, "'")
		value = strings.Trim(value, `"'`)
		if !literal {
			value = os.Expand(value, func(n string) string {
				if v, ok := vars[n]; ok {
					return v
				}
				return os.Getenv(n)
			})
		}
		vars[strings.TrimSpace(name)] = value
	}
	return vars
}
