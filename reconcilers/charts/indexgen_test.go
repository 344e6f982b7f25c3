package charts_test

import (
	"fmt"
	"io"
	"strings"
)

// largeIndex writes an index of about so many bytes as Helm does: charts with a hundred versions of 1 kB each.
func largeIndex(w io.Writer, size int64) error {
	out := &counter{w: w}

	fmt.Fprint(out, "apiVersion: v1\nentries:\n")

	for chart := 0; out.n < size; chart++ {
		fmt.Fprintf(out, "  chart-%05d:\n", chart)

		for version := 100; version > 0; version-- {
			fmt.Fprintf(out, entryText, version, version, version, strings.Repeat(fmt.Sprintf("%08x", chart*1000+version), 8),
				chart, chart, version, version)
		}
	}

	fmt.Fprint(out, "generated: \"2024-05-06T07:08:09.123456789Z\"\n")

	return out.err
}

type counter struct {
	w   io.Writer
	n   int64
	err error
}

// Write implements io.Writer.
func (c *counter) Write(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}

	n, err := c.w.Write(p)
	c.n, c.err = c.n+int64(n), err

	return n, err
}

const entryText = `  - annotations:
      artifacthub.io/changes: |
        - kind: changed
          description: "Update the image: to %d"
      artifacthub.io/license: Apache-2.0
      category: Infrastructure
    apiVersion: v2
    appVersion: 1.%d.0
    created: "2024-05-06T07:08:09.1234%02[1]dZ"
    dependencies:
    - name: common
      repository: oci://registry.example.com/charts
      tags:
      - shared
      version: 2.x.x
    description: A chart with a description of the usual length, which says what the application
      is good for, and which goes on in another line as those of long descriptions do.
    digest: %[4]s
    home: https://example.com
    icon: https://example.com/icons/stack-220x234.png
    keywords:
    - web
    - infrastructure
    - database
    kubeVersion: '>=1.23.0-0'
    maintainers:
    - name: Example, Inc.
      url: https://github.com/example/charts
    name: chart-%05[5]d
    sources:
    - https://github.com/example/charts/tree/main/chart
    urls:
    - https://charts.example.com/stable/chart-%05[6]d-%[7]d.2.3.tgz
    version: %[8]d.2.3
`
