package cluster

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// line carries what the API server tells etcd, and the answers. It brings what goes to etcd late if it is told to, without
// being any narrower: however much is on its way, nothing waits for anything but its own time and what was sent before.
type line struct {
	listener net.Listener
	to       string
	delay    atomic.Pointer[delay]
	ended    context.Context //nolint:containedctx // ends with close
	end      context.CancelFunc
	carriers sync.WaitGroup
}

// delay is how late what goes to etcd arrives: between least and most, in turns.
type delay struct {
	least, most time.Duration
	turn        atomic.Int64
}

// next returns the times in an order that is no order to whoever waits, and always the same.
func (d *delay) next() time.Duration {
	const turns, stride = 8, 5

	turn := d.turn.Add(1) * stride % turns

	return d.least + (d.most-d.least)*time.Duration(turn)/(turns-1)
}

func newLine(ctx context.Context, from, to string) (*line, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", from)
	if err != nil {
		return nil, err
	}

	l := &line{listener: listener, to: to}
	l.delay.Store(&delay{})
	l.ended, l.end = context.WithCancel(context.Background())
	l.carriers.Go(l.serve)

	return l, nil
}

func (l *line) serve() {
	for {
		server, err := l.listener.Accept()
		if err != nil {
			return // closed
		}

		l.carriers.Go(func() { l.carry(server) })
	}
}

// carry serves one connection of the API server until one end closes it.
func (l *line) carry(server net.Conn) {
	ctx, cancel := context.WithCancel(l.ended)
	defer cancel()

	etcd, err := new(net.Dialer).DialContext(ctx, "tcp", l.to)
	if err != nil {
		_ = server.Close() //nolint:errcheck // it is refused, as by an etcd that is not there

		return
	}

	context.AfterFunc(ctx, func() { _, _ = server.Close(), etcd.Close() }) //nolint:errcheck // ends the copies

	waiting := make(chan parcel, 4096) //nolint:mnd // more than comes while one waits

	var both sync.WaitGroup

	both.Go(func() { defer cancel(); l.collect(ctx, server, waiting) })
	both.Go(func() { defer cancel(); deliver(ctx, waiting, etcd) })
	both.Go(func() { defer cancel(); _, _ = io.Copy(server, etcd) }) //nolint:errcheck // an end like any other
	both.Wait()
}

// parcel is something to bring to etcd, not before its time.
type parcel struct {
	due     time.Time
	content []byte
}

func (l *line) collect(ctx context.Context, from io.Reader, waiting chan<- parcel) {
	for {
		b := make([]byte, 16<<10) //nolint:mnd // as gRPC writes

		n, err := from.Read(b)
		if n > 0 {
			select {
			case waiting <- parcel{time.Now().Add(l.delay.Load().next()), b[:n]}:
			case <-ctx.Done():
				return
			}
		}

		if err != nil {
			return
		}
	}
}

func deliver(ctx context.Context, waiting <-chan parcel, to io.Writer) {
	for {
		select {
		case p := <-waiting:
			select {
			case <-time.After(time.Until(p.due)):
			case <-ctx.Done():
				return
			}

			if _, err := to.Write(p.content); err != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

func (l *line) close() error {
	l.end()
	err := l.listener.Close()
	l.carriers.Wait()

	return err
}

// DelayEtcd lets everything that the API server tells etcd from now on arrive late: by no less than the one duration and no
// more than the other. Zero and zero end that. The cluster has to have the line for it, see Options.
func (c *Cluster) DelayEtcd(least, most time.Duration) {
	c.line.delay.Store(&delay{least: least, most: most})
}
