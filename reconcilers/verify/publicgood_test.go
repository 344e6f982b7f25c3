package verify_test

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/weir-dev/weir/reconcilers/verify"
)

// tufRepository is a real TUF repository with one target, served over HTTP.
type tufRepository struct {
	url  string
	root []byte

	requests atomic.Int32
	broken   atomic.Bool
}

// serveTUF makes a repository whose metadata expires some time from now.
func serveTUF(t *testing.T, target []byte, expires time.Time) *tufRepository {
	t.Helper()

	dir := t.TempDir()

	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}

	key, err := metadata.KeyFromPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}

	signer, err := signature.LoadSigner(private, crypto.Hash(0))
	if err != nil {
		t.Fatal(err)
	}

	root := metadata.Root(expires)
	root.Signed.ConsistentSnapshot = true

	for _, role := range []string{metadata.ROOT, metadata.TIMESTAMP, metadata.SNAPSHOT, metadata.TARGETS} {
		if err := root.Signed.AddKey(key, role); err != nil {
			t.Fatal(err)
		}
	}

	info, err := metadata.TargetFile().FromBytes("trusted_root.json", target, "sha256")
	if err != nil {
		t.Fatal(err)
	}

	targets, snapshot, timestamp := metadata.Targets(expires), metadata.Snapshot(expires), metadata.Timestamp(expires)
	targets.Signed.Targets["trusted_root.json"] = info

	write := func(name string, b []byte, err error) []byte {
		if err == nil {
			err = os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o750)
		}

		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), b, 0o600)
		}

		if err != nil {
			t.Fatal(err)
		}

		return b
	}

	signed := func(_ *metadata.Signature, err error) {
		if err != nil {
			t.Fatal(err)
		}
	}

	signed(root.Sign(signer))
	signed(targets.Sign(signer))
	signed(snapshot.Sign(signer))
	signed(timestamp.Sign(signer))

	b, err := root.ToBytes(false)
	r := &tufRepository{root: write("1.root.json", b, err)}

	b, err = targets.ToBytes(false)
	write("1.targets.json", b, err)

	b, err = snapshot.ToBytes(false)
	write("1.snapshot.json", b, err)

	b, err = timestamp.ToBytes(false)
	write("timestamp.json", b, err)

	write(fmt.Sprintf("targets/%s.trusted_root.json", info.Hashes["sha256"]), target, nil)

	files := http.FileServer(http.Dir(dir))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.requests.Add(1)

		if r.broken.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)

			return
		}

		files.ServeHTTP(w, req)
	}))
	t.Cleanup(server.Close)

	r.url = server.URL

	return r
}

// clock is a clock that a test sets.
type clock struct{ at atomic.Int64 }

func (c *clock) Now() time.Time          { return time.Unix(0, c.at.Load()) }
func (c *clock) advance(d time.Duration) { c.at.Add(int64(d)) }

func newClock() *clock {
	c := &clock{}
	c.at.Store(now().UnixNano())

	return c
}

func TestPublicGood(t *testing.T) {
	const day = 24 * time.Hour

	r := serveTUF(t, []byte("the root"), now().Add(365*day))
	c := newClock()
	p := verify.NewPublicGood(verify.PublicGoodOptions{Client: client(), Now: c.Now, URL: r.url, Root: r.root})

	get := func(reason, want string, requests bool) {
		t.Helper()

		before := r.requests.Load()

		got, err := p.TrustedRoot(t.Context())
		if string(got) != want || (err == nil) != (want != "") {
			t.Errorf("%s\nTrustedRoot(): got %q, error %v", reason, got, err)
		}

		if asked := r.requests.Load() != before; asked != requests {
			t.Errorf("%s\nTrustedRoot(): requests: want %v, got %v", reason, requests, asked)
		}
	}

	get("It is fetched when it is needed.", "the root", true)
	c.advance(day - time.Second)
	get("It is good for a day.", "the root", false)
	c.advance(time.Second)
	get("After a day, it is fetched again.", "the root", true)

	r.broken.Store(true)
	c.advance(day)
	get("When that fails, the old one is good.", "the root", true)
	get("It is not tried again at once.", "the root", false)
	c.advance(time.Minute)
	get("It is tried again after a minute.", "the root", true)
	c.advance(6 * day)
	get("The old one is not good for ever.", "", true)
	get("Then it is tried every time.", "", true)

	r.broken.Store(false)
	get("It recovers.", "the root", true)
}

// TestPublicGoodShared holds that all who ask at once make one fetch.
func TestPublicGoodShared(t *testing.T) {
	r := serveTUF(t, []byte("the root"), now().Add(time.Hour))
	p := verify.NewPublicGood(verify.PublicGoodOptions{Client: client(), Now: newClock().Now, URL: r.url, Root: r.root})

	if _, err := p.TrustedRoot(t.Context()); err != nil {
		t.Fatal(err)
	}

	one := r.requests.Swap(0)
	p = verify.NewPublicGood(verify.PublicGoodOptions{Client: client(), Now: newClock().Now, URL: r.url, Root: r.root})

	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := p.TrustedRoot(t.Context()); err != nil {
				t.Errorf("TrustedRoot(): %v", err)
			}
		})
	}

	wg.Wait()

	if got := r.requests.Load(); got != one {
		t.Errorf("%d requests, want %d", got, one)
	}
}

func TestPublicGoodRefuses(t *testing.T) {
	good := serveTUF(t, []byte("the root"), now().Add(time.Hour))
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()

	cases := map[string]struct {
		reason string
		ctx    context.Context //nolint:containedctx // a case
		r      *tufRepository
		root   []byte
		is     error
		text   string
	}{
		"Expired":   {reason: "Old metadata is not fresh.", r: serveTUF(t, []byte("the root"), now().Add(-time.Hour)), text: "expired"},
		"OtherRoot": {reason: "Others signed.", r: good, root: serveTUF(t, nil, now().Add(time.Hour)).root, text: "refresh"},
		"Huge":      {reason: "A target may not be too large.", r: serveTUF(t, []byte(strings.Repeat(" ", 3<<20)), now().Add(time.Hour)), text: "more than 2097152 bytes"},
		"Cancelled": {reason: "It ends with the context.", ctx: cancelled, r: good, is: context.Canceled},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			root := tc.r.root
			if tc.root != nil {
				root = tc.root
			}

			ctx := tc.ctx
			if ctx == nil {
				ctx = t.Context()
			}

			p := verify.NewPublicGood(verify.PublicGoodOptions{Client: client(), Now: newClock().Now, URL: tc.r.url, Root: root})

			_, err := p.TrustedRoot(ctx)
			if err == nil || tc.is != nil && !errors.Is(err, tc.is) || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("%s\nTrustedRoot(): got error %v", tc.reason, err)
			}
		})
	}
}
