// Command image builds Weir's one container image without a container engine: the static program
// cmd/manager for every platform on an empty base, as a multi-platform index. The result depends only on
// the sources and the Go version.
//
// It pushes the image to a registry, or writes it as an OCI image layout, and prints its reference with
// the digest. With --install it also writes the manifest that installs the operator from that reference, and with --distribution the
// artifact that FluxInstances name in spec.distribution.artifact, whose reference it prints too.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spf13/pflag"
)

// options are the command line.
type options struct {
	repository string
	tag        string
	platforms  []string
	binaries   map[string]string
	pkg        string
	version    string
	revision   string
	push       bool
	layout     string
	tarball    string
	install    string

	leastPrivilege bool

	distribution       string
	distributionLayout string
	fluxVersion        string
	extend             string
	created            time.Time
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := pflag.NewFlagSet("image", pflag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.repository, "repository", "", "repository of the image, such as localhost:5000/weir (plain HTTP on this machine)")
	flags.StringVar(&o.tag, "tag", "dev", "tag of the image")
	flags.StringSliceVar(&o.platforms, "platforms", []string{"linux/amd64", "linux/arm64"}, "platforms to build for")
	flags.StringToStringVar(&o.binaries, "binary", nil, "a program that is built already, as platform=path; repeatable")
	flags.StringVar(&o.pkg, "package", "./cmd/manager", "Go package of the program")
	flags.StringVar(&o.version, "version", "", "version that the program and the image tell")
	flags.StringVar(&o.revision, "revision", "", "commit that the image tells")
	flags.BoolVar(&o.push, "push", true, "push the image to the repository")
	flags.StringVar(&o.layout, "layout", "", "directory to write the image to, as an OCI image layout")
	flags.StringVar(&o.tarball, "tarball", "", "file to write the image to, as a tar of an OCI image layout")
	flags.StringVar(&o.install, "install", "", "file to write the operator's install manifest to")
	flags.BoolVar(&o.leastPrivilege, "least-privilege", false, "give the operator the rights that it needs in the install manifest, and not cluster-admin")
	flags.StringVar(&o.distribution, "distribution", "", "artifact of the distribution, such as oci://localhost:5000/manifests:v2.9.5")
	flags.StringVar(&o.distributionLayout, "distribution-layout", "", "directory to write that artifact to, as an OCI image layout")
	flags.StringVar(&o.fluxVersion, "flux-version", "", "version of the distribution; that of config/distribution if empty")
	flags.StringVar(&o.extend, "extend", "", "artifact whose versions the new one has too")
	created := flags.String("created", "", "when the artifact was made, as 2026-01-02T15:04:05Z; required with --distribution")
	if err := flags.Parse(args); err != nil {
		return options{}, err
	}
	if o.repository == "" {
		return options{}, errors.New("--repository is required")
	}
	if flags.NArg() > 0 {
		return options{}, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if o.distribution == "" {
		return o, nil
	}
	// The clock would give the same sources another digest each time, and without a time nobody can tell an artifact from an older one.
	var err error
	if o.created, err = time.Parse(time.RFC3339, *created); err != nil {
		return options{}, fmt.Errorf("--created: %w", err)
	}
	return o, nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if errors.Is(err, pflag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	tag, err := name.NewTag(o.repository + ":" + o.tag)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "weir-image-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()

	programs, err := o.programs(ctx, dir)
	if err != nil {
		return err
	}
	idx, err := index(programs, metadata{Version: o.version, Revision: o.revision})
	if err != nil {
		return err
	}
	if err := o.write(ctx, tag, idx); err != nil {
		return err
	}
	digest, err := idx.Digest()
	if err != nil {
		return err
	}
	reference := o.repository + ":" + o.tag + "@" + digest.String()
	if o.install != "" {
		if err := writeInstall(o.install, reference, o.leastPrivilege); err != nil {
			return err
		}
	}
	if _, err = fmt.Fprintln(stdout, reference); err != nil || o.distribution == "" {
		return err
	}
	published, err := o.publish(ctx, reference)
	if err != nil {
		return fmt.Errorf("distribution: %w", err)
	}
	_, err = fmt.Fprintln(stdout, published)
	return err
}

// programs are the given programs, and for the other platforms those it builds into dir, in the order of
// the platforms.
func (o options) programs(ctx context.Context, dir string) ([]binary, error) {
	given := make(map[string]string, len(o.binaries))
	for platform, path := range o.binaries {
		given[strings.TrimSpace(platform)] = path
	}
	var programs []binary
	for _, p := range o.platforms {
		platform, err := v1.ParsePlatform(p)
		if err != nil {
			return nil, fmt.Errorf("platform %q: %w", p, err)
		}
		if path, ok := given[p]; ok {
			delete(given, p)
			programs = append(programs, binary{Platform: *platform, Path: path})
			continue
		}
		built, err := compile(ctx, o.pkg, o.version, dir, *platform)
		if err != nil {
			return nil, err
		}
		programs = append(programs, built)
	}
	for p := range given {
		return nil, fmt.Errorf("binary for %q, which is not among the platforms %q", p, o.platforms)
	}
	return programs, nil
}

// write puts the image wherever the command line wants it.
func (o options) write(ctx context.Context, tag name.Tag, idx v1.ImageIndex) error {
	if o.layout != "" {
		if err := writeLayout(o.layout, tag, idx); err != nil {
			return err
		}
	}
	if o.tarball != "" {
		if err := writeTarball(o.tarball, tag, idx); err != nil {
			return err
		}
	}
	if !o.push {
		return nil
	}
	return push(ctx, tag, idx)
}
