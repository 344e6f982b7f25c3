package ingest

import (
	"path"
	"strings"
)

// cleanName returns the relative path that the name of an archive entry means, with slashes; "." is the root itself.
func cleanName(name string) (string, error) {
	if strings.HasPrefix(name, "/") {
		return "", refuse(name, "the name is absolute")
	}

	if err := checkElements(name, name); err != nil {
		return "", err
	}

	return path.Clean(name), nil
}

// checkElements refuses what could lead out of a tree on any operating system: parent directories, also between backslashes,
// and NUL.
func checkElements(name, whole string) error {
	if strings.ContainsRune(name, 0) {
		return refuse(whole, "the name holds a NUL character")
	}

	for e := range strings.FieldsFuncSeq(name, isSeparator) {
		if e == ".." {
			return refuse(whole, "the name leads out of the tree")
		}
	}

	return nil
}

func isSeparator(r rune) bool { return r == '/' || r == '\\' }

// checkGitName refuses names of tree entries that Git refuses to check out on some operating system: those that are no
// single name, and all spellings of .git. The parent is for the error.
func checkGitName(name, parent string) error {
	whole := path.Join(parent, name)
	if name == "" || name == "." || strings.ContainsRune(name, '/') {
		return refuse(parent+"/"+name, "the name is no file name")
	}

	if err := checkElements(name, parent+"/"+name); err != nil {
		return err
	}

	for e := range strings.FieldsFuncSeq(name, isSeparator) {
		if isDotGit(e) {
			return refuse(whole, "the name means .git")
		}
	}

	return nil
}

// isDotGit tells whether a file system could take the name for .git: ignoring case, characters that HFS+ ignores, trailing
// dots and spaces and streams of NTFS, and its short name.
func isDotGit(name string) bool {
	name = strings.Map(dropIgnorable, name)
	name, _, _ = strings.Cut(name, ":")
	name = strings.ToLower(strings.TrimRight(name, ". "))

	return name == ".git" || name == "git~1"
}

// dropIgnorable drops the code points that HFS+ ignores in names.
func dropIgnorable(r rune) rune {
	switch {
	case r >= 0x200c && r <= 0x200f, r >= 0x202a && r <= 0x202e, r >= 0x206a && r <= 0x206f, r == 0xfeff:
		return -1
	}

	return r
}

// leavesRoot tells whether a link at the path leads out of the tree with the target, also for those who take a backslash for
// a separator. Only the words count: links on the way are not followed, because none comes out.
func leavesRoot(link, target string) bool {
	if target == "" || strings.ContainsRune(target, 0) {
		return true
	}

	depth := strings.Count(path.Clean(link), "/")

	return climbsOut(target, depth, func(r rune) bool { return r == '/' }) || climbsOut(target, depth, isSeparator)
}

// climbsOut tells whether the target is absolute or goes up further than the depth at which it begins.
func climbsOut(target string, depth int, separator func(rune) bool) bool {
	if separator(rune(target[0])) {
		return true
	}

	for e := range strings.FieldsFuncSeq(target, separator) {
		switch e {
		case ".":
		case "..":
			if depth--; depth < 0 {
				return true
			}
		default:
			depth++
		}
	}

	return false
}
