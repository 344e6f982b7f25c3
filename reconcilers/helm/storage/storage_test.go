package storage_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/release"
	helmstorage "helm.sh/helm/v3/pkg/storage"
	"helm.sh/helm/v3/pkg/storage/driver"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/reconcilers/helm/storage"
)

func equal(a, b *release.Release) string {
	return cmp.Diff(a, b, cmpopts.IgnoreUnexported(chart.Chart{}), cmpopts.IgnoreFields(release.Release{}, "Labels"))
}

// TestBoth writes each record on one side and reads it on both.
func TestBoth(t *testing.T) {
	b := newBench(t)

	for writer, w := range b.histories() {
		want := newRelease("app-"+writer, 1, release.StatusPendingInstall)
		want.Labels = map[string]string{"team": "web"}
		b.must(w.Create(want))

		want.Info.Status, want.Info.Description = release.StatusDeployed, "done"
		b.must(w.Update(want))

		if err := w.Create(want); !errors.Is(err, driver.ErrReleaseExists) {
			t.Errorf("%s: a revision is created once: %v", writer, err)
		}

		for reader, r := range b.histories() {
			got, err := r.Deployed(want.Name)
			b.must(err)

			if diff := equal(want, got); diff != "" {
				t.Errorf("%s reads what %s has written: %s", reader, writer, diff)
			}

			got, err = r.Get(want.Name, 1)
			b.must(err)

			if diff := cmp.Diff(want.Labels, got.Labels); diff != "" {
				t.Errorf("%s reads the labels that %s has written: %s", reader, writer, diff)
			}
		}
	}

	for reader, r := range b.histories() {
		all, err := r.ListDeployed()
		b.must(err)

		if len(all) != 2 {
			t.Errorf("%s lists %d releases, want both", reader, len(all))
		}
	}

	ours, theirs := b.secret("app-weir", 1), b.secret("app-helm", 1)
	names := func(labels map[string]string) []string { return slices.Sorted(maps.Keys(labels)) }

	if ours.Type != theirs.Type || cmp.Diff([]string{"createdAt", "modifiedAt", "name", "owner", "status", "team", "version"}, names(ours.Labels)) != "" {
		t.Errorf("Secret of type %q with labels %v, Helm's has %q and %v", ours.Type, ours.Labels, theirs.Type, theirs.Labels)
	}
}

// TestAcross lets each side go on with the history of the other one, as Helm's actions do.
func TestAcross(t *testing.T) {
	b := newBench(t)
	both := b.histories()

	for writer, w := range both {
		other := both["helm"]
		if writer == "helm" {
			other = both["weir"]
		}

		name := "turn-" + writer
		w.MaxHistory, other.MaxHistory = 3, 3

		for revision := 1; revision <= 6; revision++ {
			now := w
			if revision%2 == 0 {
				now = other
			}

			if last, err := now.Deployed(name); err == nil {
				last.Info.Status = release.StatusSuperseded
				b.must(now.Update(last))
			}

			b.must(now.Create(newRelease(name, revision, release.StatusDeployed)))
		}

		for reader, r := range both {
			h, err := r.History(name)
			b.must(err)

			got := map[int]string{}
			for _, r := range h {
				got[r.Version] = r.Info.Status.String()
			}

			if diff := cmp.Diff(map[int]string{4: "superseded", 5: "superseded", 6: "deployed"}, got); diff != "" {
				t.Errorf("%s sees the history that %s has begun: %s", reader, writer, diff)
			}
		}
	}

	for reader, r := range both {
		gone, err := r.Delete("turn-"+reader, 6)
		b.must(err)

		if gone.Version != 6 {
			t.Errorf("%s deletes %v", reader, gone)
		}

		if _, err := r.Get("turn-"+reader, 6); !errors.Is(err, driver.ErrReleaseNotFound) {
			t.Errorf("%s: it is gone: %v", reader, err)
		}

		if _, err := r.Delete("turn-"+reader, 6); !errors.Is(err, driver.ErrReleaseNotFound) {
			t.Errorf("%s: it is not deleted twice: %v", reader, err)
		}

		if _, err := r.Last("absent"); err == nil {
			t.Errorf("%s: what was never there has no revision", reader)
		}

		if err := r.Update(newRelease("absent", 1, release.StatusDeployed)); err == nil || !strings.Contains(err.Error(), "not found") {
			t.Errorf("%s: what is not there is not updated: %v", reader, err)
		}
	}
}

// fields returns the record in a Secret as it is.
func (b *bench) fields(name string, revision int) map[string]any {
	b.t.Helper()

	zip, err := base64.StdEncoding.DecodeString(string(b.secret(name, revision).Data["release"]))
	b.must(err)
	reader, err := gzip.NewReader(bytes.NewReader(zip))
	b.must(err)
	raw, err := io.ReadAll(reader)
	b.must(err)

	var fields map[string]any
	b.must(json.Unmarshal(raw, &fields))

	return fields
}

// record returns the content of the Secret of a release, with fields that no SDK of Helm 3 knows.
func record(t *testing.T, r *release.Release, fields, info map[string]any) string {
	t.Helper()

	raw, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}

	var all map[string]any
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}

	maps.Copy(all, fields)
	maps.Copy(all["info"].(map[string]any), info)

	if raw, err = json.Marshal(all); err != nil {
		t.Fatal(err)
	}

	var zip bytes.Buffer

	w := gzip.NewWriter(&zip)
	if _, err := w.Write(raw); err != nil {
		t.Fatal(err)
	}

	if err := w.Close(); err != nil {
		t.Fatal(err)
	}

	return base64.StdEncoding.EncodeToString(zip.Bytes())
}

func TestUnknownFieldsStay(t *testing.T) {
	b := newBench(t)
	r := newRelease("app", 1, release.StatusDeployed)
	b.write("app", 1, record(t, r, map[string]any{"apply_method": "ssa", "sequence": 7.0}, map[string]any{"rollback_revision": 3.0}))

	_, err := b.secrets.Patch(t.Context(), storage.Key("app", 1), "application/merge-patch+json",
		[]byte(`{"metadata":{"annotations":{"note":"mine"}}}`), metav1.PatchOptions{})
	b.must(err)

	ours := helmstorage.Init(b.ours)
	r.Info.Status, r.Info.Description = release.StatusFailed, "broken"
	b.must(ours.Update(r)) // without having read it

	got := b.fields("app", 1)
	info := got["info"].(map[string]any)
	kept := []any{got["apply_method"], got["sequence"], info["rollback_revision"], info["status"], b.secret("app", 1).Annotations["note"]}

	if diff := cmp.Diff([]any{"ssa", 7.0, 3.0, "failed", "mine"}, kept); diff != "" {
		t.Errorf("an update keeps what it does not know: %s", diff)
	}
}

func TestMethod(t *testing.T) {
	b := newBench(t)
	old := newRelease("old", 1, release.StatusDeployed)
	b.must(b.helms.Create(storage.Key("old", 1), old))
	b.write("four", 1, record(t, newRelease("four", 1, release.StatusDeployed), map[string]any{"apply_method": "ssa"}, nil))
	b.write("odd", 1, record(t, newRelease("odd", 1, release.StatusDeployed), map[string]any{"apply_method": 4}, nil))

	for _, method := range []string{storage.ServerSide, storage.ClientSide} {
		b.ours.Use(method)
		r := newRelease("new-"+method, 1, release.StatusPendingInstall)
		b.must(b.ours.Create(storage.Key(r.Name, 1), r))
		b.must(b.ours.Update(storage.Key(r.Name, 1), r))
	}

	cases := map[string]struct{ reason, release, want string }{
		"Helm3":  {"What does not say so was not applied on the server's side.", "old", "csa"},
		"Helm4":  {"What Helm 4 has written is understood.", "four", "ssa"},
		"Odd":    {"What cannot be understood says nothing.", "odd", "csa"},
		"Server": {"What is applied on the server's side says so.", "new-ssa", "ssa"},
		"Client": {"So does what is not.", "new-csa", "csa"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := b.ours.Method(tc.release, 1)
			if err != nil || got != tc.want {
				t.Errorf("%s got %q, %v", tc.reason, got, err)
			}
		})
	}

	if got := b.fields("new-ssa", 1)["apply_method"]; got != "ssa" {
		t.Errorf("the method is where Helm 4 looks for it: %v", got)
	}

	if _, err := b.ours.Method("absent", 1); !errors.Is(err, driver.ErrReleaseNotFound) {
		t.Errorf("there is no method without a release: %v", err)
	}
}

// TestNote leaves a note in a record, which stays until somebody else writes that.
func TestNote(t *testing.T) {
	b := newBench(t)
	both := b.histories()
	note := storage.Note{Owner: "uid", Action: "upgrade", OCIDigest: "sha256:a", ConfigDigest: "sha256:b"}

	signed := storage.New(t.Context(), b.client, b.namespace, storage.Options{Manager: "test"})
	signed.Sign(note)
	b.must(signed.Create(storage.Key("noted", 1), newRelease("noted", 1, release.StatusPendingInstall)))

	read := func() (storage.Note, bool) {
		s := storage.New(t.Context(), b.client, b.namespace, storage.Options{Manager: "test"})
		_, err := s.Get(storage.Key("noted", 1))
		b.must(err)

		return s.Note("noted", 1)
	}

	b.must(both["weir"].Update(newRelease("noted", 1, release.StatusDeployed)))

	if got, ok := read(); !ok || got != note {
		t.Errorf("got %v, %t", got, ok)
	}

	b.must(both["helm"].Update(newRelease("noted", 1, release.StatusSuperseded)))

	if got, ok := read(); ok {
		t.Errorf("got %v after Helm has written the record", got)
	}
}

func TestSize(t *testing.T) {
	b := newBench(t)
	r := newRelease("big", 1, release.StatusPendingInstall)
	r.Chart.Files = append(r.Chart.Files, &chart.File{Name: "files/data.bin", Data: []byte(noise(900_000))})
	r.Config["token"] = noise(200_000)
	r.Manifest = noise(90_000)
	r.Chart.Templates[0].Data = bytes.Repeat([]byte("kind: ConfigMap\n"), 100_000) // weighs nothing

	err := b.ours.Create(storage.Key("big", 1), r)

	large := &storage.SizeError{}
	if !errors.As(err, &large) || large.Size <= large.Limit || len(large.Heaviest) != 5 {
		t.Fatalf("got %v", err)
	}

	var names []string
	for _, p := range large.Heaviest[:3] {
		names = append(names, p.Name)
	}

	if diff := cmp.Diff([]string{`chart file "files/data.bin"`, "the values", "the rendered manifests"}, names); diff != "" {
		t.Errorf("what weighs most comes first: %s", diff)
	}

	if text := err.Error(); strings.Contains(text, r.Config["token"].(string)[:20]) || len(text) > 600 {
		t.Errorf("an error has names and sizes only: %s", text)
	}

	if _, err := b.ours.Get(storage.Key("big", 1)); !errors.Is(err, driver.ErrReleaseNotFound) {
		t.Errorf("nothing was written: %v", err)
	}

	if err := storage.Check(r); !errors.As(err, &large) {
		t.Errorf("a check says the same: %v", err)
	}

	// Six bits of each byte are noise, so that this is close to what fits.
	fits := newRelease("fits", 1, release.StatusPendingInstall)
	fits.Manifest = noise(1_020_000)
	b.must(storage.Check(fits))
	b.must(b.ours.Create(storage.Key("fits", 1), fits))

	fits.Info.Description = noise(4_000)
	b.must(b.ours.Update(storage.Key("fits", 1), fits))

	got, err := b.helms.Get(storage.Key("fits", 1))
	b.must(err)

	if diff := equal(fits, got); diff != "" {
		t.Error("Helm reads what just fits")
	}
}

// TestTexts holds that what looks like JSON in a text counts as a text.
func TestTexts(t *testing.T) {
	b := newBench(t)
	r := newRelease("app", 1, release.StatusDeployed)
	r.Manifest = strings.Repeat(`,"[\\"{`, 200_000)
	b.must(b.ours.Create(storage.Key("app", 1), r))

	got, err := b.ours.Get(storage.Key("app", 1))
	b.must(err)

	if got.Manifest != r.Manifest {
		t.Error("the manifest is another one")
	}
}

func TestCorrupt(t *testing.T) {
	zip := func(text string) string {
		var out bytes.Buffer

		w := gzip.NewWriter(&out)
		_, _ = io.WriteString(w, text)
		_ = w.Close()

		return base64.StdEncoding.EncodeToString(out.Bytes())
	}

	cases := map[string]struct{ reason, content, want string }{
		"Empty":  {"A Secret without content is named.", "", `the key "release" is missing or empty`},
		"Base64": {"So is one with something else.", "%%%", "decode base64: illegal base64 data at input byte 0"},
		"Gzip":   {"Or one that is cut off.", zip(`{"name":"app"}`)[:24], "unpack: decompress: unexpected EOF"},
		"Bomb":   {"One that would fill the memory is not read.", zip(strings.Repeat(" ", 100<<20)), "unpack: it has more than 67108864 bytes"},
		"Values": {
			"Nor is one that does in memory what it does not in JSON.", zip(`{"name":"app","version":3,"config":{"a":[` + strings.Repeat("[],", 600_000) + `1]}}`),
			"it has more than 500000 values, or is nested deeper than 1000 levels",
		},
		"Depth": {
			"Nor one whose digest would.", zip(`{"name":"app","version":3,"config":{"a":` + strings.Repeat("[", 1_500) + strings.Repeat("]", 1_500) + `}}`),
			"it has more than 500000 values, or is nested deeper than 1000 levels",
		},
		"JSON":  {"Invalid content is not quoted.", zip(`{"config":{"password":hunter2}}`), "decode: invalid JSON after 23 bytes"},
		"Type":  {"Nor is a value of the wrong type.", zip(`{"name":"app","version":"hunter2"}`), `decode: field "version" is a string`},
		"Other": {"The record of another release is none of this one.", zip(`{"name":"other","version":3}`), `it holds revision 3 of release "other"`},
		"Info":  {"Helm would look into what is not there.", zip(`{"name":"app","version":3}`), "it has no info"},
		"Chart": {"Helm would look into it, too.", zip(`{"name":"app","version":3,"info":{}}`), "it has no chart"},
		"Hook":  {"And into each hook.", zip(`{"name":"app","version":3,"info":{},"chart":{"metadata":{}},"hooks":[null]}`), "one of its hooks is null"},
		"File":  {"And into each file.", zip(`{"name":"app","version":3,"info":{},"chart":{"metadata":{},"files":[null]}}`), "a file of its chart is null"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.write("app", 3, tc.content)

			ours := helmstorage.Init(b.ours)
			want := fmt.Sprintf("Secret '%s/sh.helm.release.v1.app.v3' is no usable record of a release: %s", b.namespace, tc.want)

			if _, err := ours.Get("app", 3); err == nil || err.Error() != want {
				t.Fatalf("%s got %v, want %s", tc.reason, err, want)
			}

			if _, err := ours.Last("app"); !errors.Is(err, driver.ErrReleaseNotFound) {
				t.Errorf("what has no readable revision is not there: %v", err)
			}

			b.must(ours.Create(newRelease("app", 2, release.StatusDeployed)))

			last, err := ours.Last("app")
			b.must(err)

			if last.Version != 2 || len(b.skipped) == 0 || b.skipped[0] != want {
				t.Errorf("the newest one that can be read is taken, and the other one told: %d, %q", last.Version, b.skipped)
			}

			b.must(ours.Create(newRelease("app", 3, release.StatusDeployed)))

			if last, err = ours.Last("app"); err != nil || last.Version != 3 {
				t.Errorf("its revision can be written again: %v, %v", last, err)
			}
		})
	}
}

func TestForeign(t *testing.T) {
	b := newBench(t)
	b.write("app", 1, "%%%")

	_, err := b.secrets.Patch(t.Context(), storage.Key("app", 1), "application/merge-patch+json",
		[]byte(`{"metadata":{"labels":{"owner":"somebody"}}}`), metav1.PatchOptions{})
	b.must(err)

	if err := b.ours.Create(storage.Key("app", 1), newRelease("app", 1, release.StatusDeployed)); !errors.Is(err, driver.ErrReleaseExists) {
		t.Errorf("a Secret that is not Helm's is not replaced: %v", err)
	}
}

// TestCost counts what it costs to read one release of a thousand.
func TestCost(t *testing.T) {
	b := newBench(t)

	for i := range 1000 {
		b.must(b.ours.Create(storage.Key(fmt.Sprintf("app-%d", i), 1), newRelease(fmt.Sprintf("app-%d", i), 1, release.StatusDeployed)))
	}

	for revision := 2; revision <= 5; revision++ {
		r := newRelease("app-7", revision, release.StatusSuperseded)
		r.Manifest = noise(200_000)
		b.must(b.ours.Create(storage.Key("app-7", revision), r))
	}

	ours := helmstorage.Init(b.ours)

	b.counter.Take()
	b.received.Store(0)

	h, err := ours.History("app-7")
	b.must(err)

	if diff := cmp.Diff(map[string]int{"list": 1, "get": 2}, b.counter.Take()); diff != "" || len(h) != 5 {
		t.Errorf("a history of %d is one list of metadata, the newest revision and that which is deployed: %s", len(h), diff)
	}

	if got := b.received.Load(); got > 350_000 {
		t.Errorf("one revision of 200 kB was read, in %d bytes", got)
	}

	for _, r := range h {
		full := r.Version == 5 || r.Version == 1
		if (r.Manifest != "") != full {
			t.Errorf("revision %d has its content: %v", r.Version, !full)
		}

		if err := ours.Update(r); (err == nil) != full {
			t.Errorf("revision %d is written: %v", r.Version, err)
		}
	}

	b.counter.Take()

	all, err := ours.ListDeployed()
	b.must(err)

	if lists := b.counter.Take(); len(all) != 1000 || lists["list"] > 5 || len(lists) != 1 {
		t.Errorf("all %d are read page by page: %v", len(all), lists)
	}
}

func TestLabelsAreChecked(t *testing.T) {
	b := newBench(t)

	if _, err := b.ours.Query(map[string]string{"name": "a,owner!=helm"}); err == nil || !strings.Contains(err.Error(), "invalid label value") {
		t.Errorf("a name does not lead to other releases: %v", err)
	}
}
