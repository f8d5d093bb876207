package apache

import (
	"net/http"
	"os"
	"path"
	"slices"
	"strings"
)

// maxViews bounds how many files of a folder are looked at for one that is meant.
const maxViews = 10_000

// negotiated answers for a name without its suffix with the one file that has it, if
// Options say MultiViews. As in httpd, all suffixes of the file must be known. Among
// several nothing is chosen: that is told in the log, and the answer is 404.
func (h *host) negotiated(w http.ResponseWriter, r *http.Request, s *served) bool {
	v := visitOf(r)
	disk := &v.found.disk
	if s.files.options.of(optFollow)&optViews == 0 || disk.Info != nil || disk.Extra != "" || v.handler != "" || strings.HasSuffix(v.path, "/") {
		return false
	}
	base := path.Base(disk.Name)
	at := strings.TrimSuffix(v.path, base)
	names := slices.DeleteFunc(s.views(path.Dir(disk.Name), base, h.opt.types), func(name string) bool { return !h.shows(r, at+name) })
	switch {
	case len(names) == 0:
		return false
	case len(names) > 1:
		h.logger.Error("MultiViews: several files may be meant, and none is chosen", "path", v.path, "files", names)
		return false
	}
	w.Header().Set("Content-Location", names[0])
	w.Header().Set("Vary", "negotiate")
	w.Header().Set("TCN", "choice")
	if h.leadsTo(w, r, at+names[0], 0) {
		return true
	}
	for _, name := range []string{"Content-Location", "Vary", "TCN"} {
		w.Header().Del(name)
	}
	return false
}

// views are the files of a folder that a name without its suffix may mean.
func (s *served) views(dir, base string, types map[string]string) (names []string) {
	f, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer f.Close()
	all, _ := f.ReadDir(maxViews)
	for _, e := range all {
		suffixes, ok := strings.CutPrefix(e.Name(), base+".")
		if ok && !e.IsDir() && s.files.mime.KnowsAll(suffixes, types) {
			names = append(names, e.Name())
		}
	}
	return names
}
