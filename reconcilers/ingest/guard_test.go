package ingest_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/weir-dev/weir/reconcilers/ingest"
)

func TestRefuseLinkLocal(t *testing.T) {
	cases := map[string]bool{
		"169.254.169.254": false, "::ffff:169.254.169.254": false, "fe80::1": false, "fd00:ec2::254": false,
		"fd00:ec2::23": false, "fd20:ce::254": false, "fd00:c1::a9fe:a9fe": false, "fd00:ec2::254%eth0": false, "168.63.129.16": false,
		"100.100.100.200": false, "0.0.0.0": false, "::": false, "224.0.0.1": false,
		"0.1.2.3": false, "255.255.255.255": false, "192.0.0.192": false, "fd00:42::42": false, "ff02::1": false, "ff01::1": false,
		"169.254.170.23": false, "fe80::a9fe:a9fe": false,
		"64:ff9b::a9fe:a9fe": false, "64:ff9b:1::a9fe:a9fe": false, "::ffff:0:a9fe:a9fe": false, "::a9fe:a9fe": false,
		"2002:a9fe:a9fe::1": false, "2001:0:1:2:3:4:5601:5601": false, "64:ff9b::6464:64c8": false, "64:ff9b::": false,
		"127.0.0.1": true, "::1": true, "10.0.0.1": true, "192.0.2.1": true, "2001:db8::1": true, "fd00::1": true,
		"64:ff9b::c000:201": true, "2002:c000:201::1": true, "2001:0:1:2:3:4:3fff:fdfe": true, "::ffff:10.0.0.1": true,
	}

	for addr, want := range cases {
		if err := ingest.RefuseLinkLocal(netip.MustParseAddr(addr)); (err == nil) != want {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

func TestDialerAsks(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)

	refused := errors.New("not here")
	allow := func(a netip.Addr) error {
		if a.IsLoopback() {
			return refused
		}

		return nil
	}

	// The name is resolved before it is decided.
	url := strings.Replace(server.URL, "127.0.0.1", "localhost", 1)

	resp, err := ingest.NewClient(ingest.NewTransport(ingest.HTTPOptions{Allow: allow}), nil).Do(request(t, url))
	if err == nil {
		_ = resp.Body.Close()
	}

	if !errors.Is(err, refused) {
		t.Errorf("unexpected error: %v", err)
	}
}

// A proxy resolves names itself. It is not asked for what must not be reached.
func TestProxyIsNotAskedForAnything(t *testing.T) {
	var asked []string

	proxy := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Hostname())
	}))
	t.Cleanup(proxy.Close)

	by, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}

	transports := &ingest.Transports{Allow: ingest.RefuseLinkLocal}

	transport, err := transports.To(ingest.Route{Proxy: by})
	if err != nil {
		t.Fatal(err)
	}

	cases := map[string]struct {
		reason string
		host   string
		want   string
	}{
		"Name":        {reason: "A name is for the proxy to resolve.", host: "example.test"},
		"Address":     {reason: "So is an address to be reached.", host: "192.0.2.1"},
		"Port":        {reason: "Ports do not count.", host: "192.0.2.1:8080"},
		"LinkLocal":   {reason: "Metadata services give away credentials.", host: "169.254.169.254", want: "link-local"},
		"IPv6":        {reason: "They do on IPv6.", host: "[fd00:ec2::254]:80", want: "metadata service"},
		"Mapped":      {reason: "And behind a mapping.", host: "[::ffff:169.254.169.254]", want: "link-local"},
		"Dot":         {reason: "A dot at the end changes nothing.", host: "169.254.169.254.", want: "link-local"},
		"Decimal":     {reason: "Some take a number for an address.", host: "2852039166", want: "no valid address"},
		"Hexadecimal": {reason: "Or one of this form.", host: "0xA9FEA9FE", want: "no valid address"},
		"Octal":       {reason: "Or one of this.", host: "0251.0376.0251.0376", want: "no valid address"},
		"Short":       {reason: "Or a short one.", host: "169.254.43518", want: "no valid address"},
		"Metadata":    {reason: "Names of them are known.", host: "metadata.google.internal.", want: "metadata service"},
		"Case":        {reason: "Case does not count.", host: "Metadata", want: "metadata service"},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			asked = nil

			resp, err := ingest.NewClient(transport, nil).Do(request(t, "http://"+tc.host+"/latest"))
			if err == nil {
				_ = resp.Body.Close()
			}

			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s\nerror: %v", tc.reason, err)
			}

			if (len(asked) == 0) != (tc.want != "") {
				t.Errorf("%s\nthe proxy was asked for %q", tc.reason, asked)
			}
		})
	}
}
