package artifact_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/weir-dev/weir/reconcilers/artifact"
)

func BenchmarkAudit(b *testing.B) {
	s, err := artifact.NewStore(artifact.StoreOptions{Root: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}

	for i := range 5000 {
		if _, err := s.Put(b.Context(), at(fmt.Sprint("o", i), "a"), "r", content(fmt.Sprint(i%1000))); err != nil {
			b.Fatal(err)
		}
	}

	for b.Loop() {
		s.Audit(b.Context())
	}
}

func BenchmarkServe(b *testing.B) {
	s, err := artifact.NewStore(artifact.StoreOptions{Root: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}

	text := strings.Repeat("content ", 1<<17)

	a, err := s.Put(b.Context(), at("one", "a"), "r", content(text))
	if err != nil {
		b.Fatal(err)
	}

	b.SetBytes(int64(len(text)))

	for b.Loop() {
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/"+a.Path, nil))
	}
}
