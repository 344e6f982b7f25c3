package gitserver

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// epoch is the date of the first commit of every repository; each further one is a minute younger.
const epoch = 1700000000

// Author and committer of every commit and tag.
const (
	AuthorName  = "Jane Doe"
	AuthorEmail = "jane@example.com"
)

// Repositories is a directory of bare repositories.
type Repositories struct {
	root string
	git  git
}

// NewRepositories returns the repositories under the directory, which is made if it is not there.
func NewRepositories(root string) (*Repositories, error) {
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, fmt.Errorf("make directory of repositories: %w", err)
	}

	g, err := newGit(root)
	if err != nil {
		return nil, err
	}

	return &Repositories{root: root, git: g}, nil
}

// Create makes an empty bare repository <name>.git, whose HEAD is the branch main.
func (r *Repositories) Create(ctx context.Context, name string) (*Repository, error) {
	dir := filepath.Join(r.root, filepath.FromSlash(name)+".git")
	if _, err := r.git.run(ctx, r.root, nil, nil, "init", "--quiet", "--bare", "--initial-branch=main", dir); err != nil {
		return nil, err
	}

	return &Repository{git: r.git, Dir: dir, Path: name + ".git"}, nil
}

// Repository is one bare repository. Its methods may be called concurrently.
type Repository struct {
	// Dir is where it is.
	Dir string

	// Path is where it is under the root of a server.
	Path string

	git git

	mu    sync.Mutex
	clock int64 // commits and tags so far
}

// Change is what a commit does to the files of its parent. Paths are relative, with slashes.
type Change struct {
	// Files to write, by path.
	Files map[string]string

	// Executables are files to write with the executable bit.
	Executables map[string]string

	// Symlinks to write: path to target.
	Symlinks map[string]string

	// Submodules to write: path to the hash of a commit.
	Submodules map[string]string

	// Remove files and directories. It happens before anything is written.
	Remove []string
}

// Commit adds a commit to the branch, which is made if it is not there, and returns its hash. It runs a single process,
// whatever the number of files.
func (r *Repository) Commit(ctx context.Context, branch, message string, c Change) (string, error) {
	ref := "refs/heads/" + branch

	r.mu.Lock()
	defer r.mu.Unlock()

	var b bytes.Buffer
	fmt.Fprintf(&b, "commit %s\ncommitter %s <%s> %d +0000\n", ref, AuthorName, AuthorEmail, r.tick())
	writeData(&b, message)

	if parent, err := r.run(ctx, "rev-parse", "--verify", "--quiet", ref); err == nil {
		fmt.Fprintf(&b, "from %s\n", parent)
	}

	for _, p := range c.Remove {
		fmt.Fprintf(&b, "D %s\n", quote(p))
	}

	writeFiles(&b, "100644", c.Files)
	writeFiles(&b, "100755", c.Executables)
	writeFiles(&b, "120000", c.Symlinks)

	for _, p := range slices.Sorted(maps.Keys(c.Submodules)) {
		fmt.Fprintf(&b, "M 160000 %s %s\n", c.Submodules[p], quote(p))
	}

	if _, err := r.git.run(ctx, r.Dir, b.Bytes(), nil, "fast-import", "--quiet", "--force"); err != nil {
		return "", err
	}

	return r.run(ctx, "rev-parse", "--verify", ref)
}

// CommitTree adds a commit of a tree that is already there, such as one made by WriteObject, to the branch.
func (r *Repository) CommitTree(ctx context.Context, branch, message, tree string) (string, error) {
	args := []string{"commit-tree", tree, "-m", message}
	if parent, err := r.run(ctx, "rev-parse", "--verify", "--quiet", "refs/heads/"+branch); err == nil {
		args = append(args, "-p", parent)
	}

	hash, err := r.git.run(ctx, r.Dir, nil, r.identity(), args...)
	if err != nil {
		return "", err
	}

	return hash, r.SetRef(ctx, "refs/heads/"+branch, hash)
}

// Tag makes a tag of what the revision names. With a message it is an annotated tag.
func (r *Repository) Tag(ctx context.Context, name, revision, message string) error {
	args := []string{"tag", "--force", name, revision}
	if message != "" {
		args = append(args, "--annotate", "--message", message)
	}

	_, err := r.git.run(ctx, r.Dir, nil, r.identity(), args...)

	return err
}

// SetRef points a full reference, such as refs/pull/1/head, at a hash.
func (r *Repository) SetRef(ctx context.Context, ref, hash string) error {
	_, err := r.run(ctx, "update-ref", ref, hash)

	return err
}

// WriteObject stores an object as it is, without checking it, and returns its hash. The kind is blob, tree, commit or tag.
func (r *Repository) WriteObject(ctx context.Context, kind string, content []byte) (string, error) {
	return r.git.run(ctx, r.Dir, content, nil, "hash-object", "-t", kind, "-w", "--stdin", "--literally")
}

// Configure sets a configuration variable, such as uploadpack.allowFilter.
func (r *Repository) Configure(ctx context.Context, key, value string) error {
	_, err := r.run(ctx, "config", key, value)

	return err
}

// Git runs any git command in the repository and returns what it printed.
func (r *Repository) Git(ctx context.Context, args ...string) (string, error) {
	return r.run(ctx, args...)
}

func (r *Repository) run(ctx context.Context, args ...string) (string, error) {
	return r.git.run(ctx, r.Dir, nil, nil, args...)
}

// tick returns the date of the next commit or tag.
func (r *Repository) tick() int64 {
	r.clock++

	return epoch + (r.clock-1)*int64(time.Minute/time.Second)
}

// identity returns who made the next commit or tag, and when.
func (r *Repository) identity() []string {
	r.mu.Lock()
	defer r.mu.Unlock()

	date := fmt.Sprintf("@%d +0000", r.tick())

	return []string{
		"GIT_AUTHOR_NAME=" + AuthorName, "GIT_AUTHOR_EMAIL=" + AuthorEmail, "GIT_AUTHOR_DATE=" + date,
		"GIT_COMMITTER_NAME=" + AuthorName, "GIT_COMMITTER_EMAIL=" + AuthorEmail, "GIT_COMMITTER_DATE=" + date,
	}
}

func writeFiles(b *bytes.Buffer, mode string, files map[string]string) {
	for _, p := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(b, "M %s inline %s\n", mode, quote(p))
		writeData(b, files[p])
	}
}

func writeData(b *bytes.Buffer, s string) { fmt.Fprintf(b, "data %d\n%s\n", len(s), s) }

// quote writes a path the way fast-import reads it.
func quote(p string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(p) + `"`
}
