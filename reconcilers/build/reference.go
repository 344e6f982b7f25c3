package build

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Timeouts of one fetch: that of kustomize, and the longest that a reference may ask for.
const (
	fetchTimeout    = 27 * time.Second
	maxFetchTimeout = time.Minute
)

// reference is a remote base, component or resource.
type reference struct {
	raw string
	// file is the URL of a file, if it may be one.
	file string
	// repository is the URL to clone, if it may be in a repository, path the directory in it, and version a branch, tag or commit.
	repository, path, version string

	timeout time.Duration
}

// shown is the reference as it may be shown.
func (r *reference) shown() string { return withoutCredentials(r.raw) }

var (
	errSSH       = errors.New("nothing is fetched over SSH, which takes credentials; use a GitRepository")
	errFile      = errors.New("the machine's own repositories are not read")
	errPassword  = errors.New("a URL must not hold a password; use a GitRepository")
	errReference = errors.New("it is neither the URL of a file nor that of a repository")
	errClimbs    = errors.New("the path leads out of the repository")
)

// parseReference reads a remote reference, in the forms that the library knows: the URL of a file; a URL whose path is that of a
// repository, which ends at //, after .git or after two elements, and one in it; or the latter without a scheme on github.com.
// What can be told apart by its form is fetched in that form only.
func parseReference(raw string) (*reference, error) {
	r := &reference{raw: raw, timeout: fetchTimeout}

	rest, forced := cutFold(raw, "git::")
	rest, query, _ := strings.Cut(rest, "?")

	asked := r.query(query)

	scheme, rest, err := cutScheme(rest)
	if err != nil {
		return nil, err
	}

	host, name, _ := strings.Cut(rest, "/")

	if host, err = cutUser(host); err != nil {
		return nil, err
	}

	repository, inner, marked := splitRepository(name)
	if clean := path.Clean(strings.TrimLeft(inner, "/")); clean == ".." || strings.HasPrefix(clean, "../") {
		return nil, errClimbs
	}

	git := asked || forced || marked || !strings.Contains(raw, "://")
	if repository != "" && (git || !isData(name)) {
		r.repository, r.path = scheme+host+"/"+repository, strings.Trim(path.Clean("/"+inner), "/")
	}

	if !git {
		r.file = scheme + host + "/" + name
		if query != "" {
			r.file += "?" + query
		}
	}

	if r.file == "" && r.repository == "" {
		return nil, errReference
	}

	return r, nil
}

// query reads what the library would, and tells whether there was anything of that.
func (r *reference) query(text string) bool {
	values, err := url.ParseQuery(text)
	if err != nil {
		return false
	}

	r.version = values.Get("version")
	if ref := values.Get("ref"); ref != "" {
		r.version = ref
	}

	if t := values.Get("timeout"); t != "" {
		d, err := time.ParseDuration(t)
		if n, e := strconv.Atoi(t); e == nil {
			d, err = time.Duration(min(n, int(maxFetchTimeout/time.Second)))*time.Second, nil
		}

		if err == nil && d > 0 {
			r.timeout = min(d, maxFetchTimeout)
		}
	}

	return slices.ContainsFunc([]string{"ref", "version", "timeout", "submodules"}, values.Has)
}

// cutUser returns the host without the user that may be before it.
func cutUser(host string) (string, error) {
	user, rest, ok := strings.Cut(host, "@")
	if !ok {
		user, rest = "", host
	}

	switch {
	case strings.Contains(user, ":"), strings.Contains(rest, "@"):
		return "", errPassword
	case rest == "":
		return "", errReference
	}

	return rest, nil
}

// cutScheme returns the scheme, which may be that of github.com, and what follows it.
func cutScheme(ref string) (scheme, rest string, err error) {
	for _, scheme := range []string{"https://", "http://"} {
		if rest, ok := cutFold(ref, scheme); ok {
			return scheme, rest, nil
		}
	}

	if _, ok := cutFold(ref, "file://"); ok {
		return "", "", errFile
	}

	if rest, ok := cutFold(ref, "github.com/"); ok {
		return "https://", "github.com/" + rest, nil
	}

	return "", "", errSSH
}

func cutFold(s, prefix string) (string, bool) {
	if len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix) {
		return s[len(prefix):], true
	}

	return s, false
}

// splitRepository splits the path of a URL into that of the repository, which may be empty, and one in it. It tells whether the
// path itself says where the repository ends.
func splitRepository(name string) (repository, inner string, marked bool) {
	const devOps = "_git/" // the repositories of Azure DevOps lie in such a directory

	if i := strings.Index(name, devOps); i >= 0 {
		repo, inner, _ := strings.Cut(name[i+len(devOps):], "/")

		return name[:i+len(devOps)] + repo, inner, true
	}

	if repository, inner, ok := strings.Cut(name, "//"); ok {
		return repository, inner, true
	}

	if i := strings.Index(name, ".git"); i >= 0 {
		return name[:i+len(".git")], name[i+len(".git"):], true
	}

	const elements = 2

	parts := strings.SplitN(name, "/", elements+1)
	if len(parts) < elements || parts[0] == "" || parts[1] == "" {
		return "", "", false
	}

	return strings.Join(parts[:elements], "/"), strings.Join(parts[elements:], "/"), false
}

// isData tells whether the name is that of a file with objects.
func isData(name string) bool {
	ext := strings.ToLower(path.Ext(name))

	return ext == ".yaml" || ext == ".yml" || ext == ".json"
}

// fetchError says what could not be fetched, and who asks for it.
func fetchError(file string, r string, err error) error {
	return fmt.Errorf("%q: get %q: %w", file, withoutCredentials(r), err)
}
