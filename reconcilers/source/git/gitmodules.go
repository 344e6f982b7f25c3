package git

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path"
	"regexp"
	"strings"

	"github.com/go-git/go-git/v5/config"

	"github.com/weir-dev/weir/reconcilers/source/git/transport"
)

// modulesFile names the submodules of a repository. It is foreign input: what stands in it decides nothing but which server is
// asked for a commit whose hash is known.
const modulesFile = ".gitmodules"

// maxModulesFile bounds it, in bytes.
const maxModulesFile = 256 << 10

// readModules returns the URLs of submodules by the paths of their directories, as they stand in the file.
func readModules(r io.Reader) (urls map[string]string, err error) {
	text, err := io.ReadAll(io.LimitReader(r, maxModulesFile+1))

	switch {
	case err != nil:
		return nil, fmt.Errorf("read %q: %w", modulesFile, err)
	case len(text) > maxModulesFile:
		return nil, fmt.Errorf("%q has more than %d bytes", modulesFile, maxModulesFile)
	case bytes.IndexByte(text, 0) >= 0:
		return nil, fmt.Errorf("%q is no text", modulesFile)
	}

	modules := config.NewModules()
	if err := modules.Unmarshal(text); err != nil {
		return nil, fmt.Errorf("%q cannot be read", modulesFile) // the words of the library hold parts of it
	}

	urls = map[string]string{}

	for _, m := range modules.Submodules { // the library leaves out those whose name or path leads out of something
		if path.IsAbs(m.Path) || climbs(m.Path) || strings.HasPrefix(m.Path, "-") {
			return nil, fmt.Errorf("%q: path %.100q of a submodule is not allowed", modulesFile, m.Path)
		}

		if m.URL == "" {
			continue // as one without an entry
		}

		if _, twice := urls[path.Clean(m.Path)]; twice {
			return nil, fmt.Errorf("%q: two submodules for %.100q", modulesFile, m.Path)
		}

		urls[path.Clean(m.Path)] = m.URL
	}

	return urls, nil
}

// climbs tells whether a path has a parent directory in it.
func climbs(p string) bool {
	for e := range strings.FieldsFuncSeq(p, func(r rune) bool { return r == '/' || r == '\\' }) {
		if e == ".." {
			return true
		}
	}

	return false
}

// moduleURL returns where a submodule is. One that begins in ./ or ../ is relative to the URL of the repository that names it.
// Local paths and other protocols than HTTP and SSH are refused.
func moduleURL(parent *url.URL, raw string) (*url.URL, error) {
	switch {
	case strings.HasPrefix(raw, "./"), strings.HasPrefix(raw, "../"):
		return relativeURL(parent, raw)
	case strings.Contains(raw, "://"):
		return transport.ParseURL(raw)
	}

	// The way in which SSH is written most: user@host:path.
	short := regexp.MustCompile(`^(?:([A-Za-z0-9._-]+)@)?([A-Za-z0-9._-]{2,}):/?([^/:\\].*)$`).FindStringSubmatch(raw)
	if short != nil {
		u := &url.URL{Scheme: "ssh", Host: short[2], Path: "/" + short[3]}
		if short[1] != "" {
			u.User = url.User(short[1])
		}

		return transport.ParseURL(u.String())
	}

	return nil, errors.New("the URL is none of HTTP and SSH")
}

// relativeURL goes from one repository to another on the same server.
func relativeURL(parent *url.URL, raw string) (*url.URL, error) {
	u := *parent
	u.RawPath = ""
	u.Path = strings.TrimRight(u.Path, "/")

	for rest := raw; ; {
		if after, ok := strings.CutPrefix(rest, "./"); ok {
			rest = after

			continue
		}

		after, ok := strings.CutPrefix(rest, "../")
		if !ok {
			u.Path += "/" + rest

			break
		}

		if u.Path == "" {
			return nil, errors.New("the URL leads above the root of the server")
		}

		u.Path, rest = u.Path[:strings.LastIndex(u.Path, "/")], after
	}

	if climbs(u.Path) {
		return nil, errors.New("the URL leads up within itself")
	}

	return transport.ParseURL(u.String())
}
