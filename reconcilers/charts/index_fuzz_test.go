package charts_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/repo"

	"github.com/weir-dev/weir/reconcilers/charts"
	"github.com/weir-dev/weir/reconcilers/ingest"
)

// FuzzIndex holds that an index is what Helm makes of it, or refused as Helm refuses it, whether it is read as a whole or piece
// by piece.
func FuzzIndex(f *testing.F) {
	for _, tc := range indexes() {
		f.Add([]byte(tc.text))
	}

	for _, tc := range brokenIndexes() {
		f.Add([]byte(tc.text))
	}

	f.Fuzz(func(t *testing.T, raw []byte) {
		if ingest.CheckAliases(raw) != nil {
			return // Helm may take it, and all memory with it
		}

		want, refused := asHelmWrites(t, raw)

		got, err := normal(t.Context(), raw, charts.IndexLimits{}, t.TempDir())
		if (err == nil) != (refused == nil) {
			t.Fatalf("got %v, Helm says %v", err, refused)
		}

		if diff := cmp.Diff(want, got); err == nil && diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}

		got, err = normal(t.Context(), raw, piecewise(), t.TempDir())
		if diff := cmp.Diff(want, got); err == nil && (refused != nil || diff != "") {
			t.Errorf("piece by piece: Helm says %v: -want +got:\n%s", refused, diff)
		}
	})
}

// asHelmWrites returns an index as Helm writes it as JSON, with empty lists and maps instead of none.
func asHelmWrites(t testing.TB, raw []byte) (string, error) {
	t.Helper()

	index, err := helmReads(t, raw)
	if err != nil {
		return "", err
	}

	for name, versions := range index.Entries {
		if versions == nil {
			index.Entries[name] = repo.ChartVersions{}
		}
	}

	if index.Entries == nil {
		index.Entries = map[string]repo.ChartVersions{}
	}

	out, err := json.Marshal(index)

	return string(out), err
}
