package cluster

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"testing"
	"time"
)

// TestLine brings lines to a server that echoes them: all arrive, in order, and late if they have to.
func TestLine(t *testing.T) {
	echo, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // of a test
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = echo.Close() })
	go func() {
		for {
			c, err := echo.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = c.(*net.TCPConn).ReadFrom(c) }()
		}
	}()

	l, err := newLine(t.Context(), "127.0.0.1:0", echo.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", l.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	answers := bufio.NewScanner(c)
	say := func(count int) time.Duration {
		t.Helper()
		start := time.Now()
		for i := range count {
			if _, err := fmt.Fprintln(c, i); err != nil {
				t.Fatal(err)
			}
		}
		for i := range count {
			if !answers.Scan() || answers.Text() != fmt.Sprint(i) {
				t.Fatalf("got %q as answer %d: %v", answers.Text(), i, answers.Err())
			}
		}
		return time.Since(start)
	}

	say(100)
	const least = 30 * time.Millisecond
	l.delay.Store(&delay{least: least, most: 2 * least})
	if took := say(100); took < least {
		t.Errorf("100 lines came after %s, that is before %s", took, least)
	}
	l.delay.Store(&delay{least: time.Hour, most: time.Hour}) // a line ends with what it still has to bring
	if _, err := fmt.Fprintln(c, "late"); err != nil {
		t.Fatal(err)
	}
	if err := l.close(); err != nil {
		t.Error(err)
	}
	if answers.Scan() {
		t.Errorf("the line is closed and says %q", answers.Text())
	}
}

// TestDelayedEtcd writes through a line that is slow.
func TestDelayedEtcd(t *testing.T) {
	c := New(t, Options{EtcdLine: true})
	ask := func() time.Duration {
		start := time.Now()
		if err := c.client.get(context.Background(), "/api/v1/namespaces/default/configmaps/none?resourceVersion=", nil); err == nil {
			t.Fatal("there is no such object")
		}
		return time.Since(start)
	}
	ask()
	const least = 200 * time.Millisecond
	c.DelayEtcd(least, 2*least)
	if took := ask(); took < least {
		t.Errorf("an answer came after %s, that is before %s", took, least)
	}
	c.DelayEtcd(0, 0)
}
