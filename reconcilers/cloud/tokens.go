package cloud

import (
	"container/list"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/fluxcd/pkg/auth"
	"github.com/fluxcd/pkg/auth/aws"

	"github.com/weir-dev/weir/reconcilers/flight"
)

// maxAge is how long a token is kept at most.
const maxAge = time.Hour

// object is who a token was got for.
type object struct{ kind, namespace, name string }

// tokens keeps tokens until they have lived four fifths of their life, or are too old or too many. A token is got once for all
// who want it at the same time, and nobody waits for the token of somebody else.
type tokens struct {
	size    int
	age     time.Duration
	timeout time.Duration
	now     func() time.Time
	metrics *Metrics
	flights flight.Group[flight.Fingerprint, auth.Token]

	mu    sync.Mutex
	items map[flight.Fingerprint]*list.Element
	order list.List // of *item, the one asked for last first
}

type item struct {
	key   flight.Fingerprint
	token auth.Token
	until time.Time
	users map[object]struct{}
}

func newTokens(o Options) *tokens {
	age := o.CacheAge
	if age <= 0 || age > maxAge {
		age = maxAge
	}

	return &tokens{
		size: o.CacheSize, age: age, timeout: o.Timeout, now: o.Now, metrics: o.Metrics,
		flights: flight.Group[flight.Fingerprint, auth.Token]{Now: o.Now},
		items:   map[flight.Fingerprint]*list.Element{},
	}
}

// get returns the token that is kept, or a new one.
func (t *tokens) get(ctx context.Context, who object, key flight.Fingerprint,
	run func(context.Context) (auth.Token, error),
) (auth.Token, error) {
	if token := t.kept(who, key); token != nil {
		t.metrics.event(eventHit, who)
		t.metrics.request(nil)

		return token, nil
	}

	t.metrics.event(eventMiss, who)

	token, release, err := t.flights.Join(ctx, key, time.Time{}, func(ctx context.Context) (auth.Token, error) {
		ctx, cancel := context.WithTimeoutCause(ctx, t.timeout, fmt.Errorf("timed out after %s", t.timeout))
		defer cancel()

		token, err := run(ctx)
		if err == nil && token == nil {
			err = fmt.Errorf("the provider gave nothing")
		}

		return token, err
	})
	t.metrics.request(err)

	if err != nil {
		return nil, err //nolint:wrapcheck // the caller does
	}
	defer release()

	t.keep(who, key, token)

	return token, nil
}

// kept returns the token that is kept, or nil.
func (t *tokens) kept(who object, key flight.Fingerprint) auth.Token {
	t.mu.Lock()
	defer t.mu.Unlock()

	e, ok := t.items[key]
	if !ok {
		return nil
	}

	it := e.Value.(*item) //nolint:forcetypeassert // the list holds nothing else
	if !t.now().Before(it.until) {
		t.drop(e)

		return nil
	}

	it.users[who] = struct{}{}
	t.order.MoveToFront(e)

	return it.token
}

// keep keeps a token, in the place of the one that was asked for least if there are too many.
func (t *tokens) keep(who object, key flight.Fingerprint, token auth.Token) {
	left := t.lifetime(token)
	if left <= 0 || t.size <= 0 {
		return
	}

	t.mu.Lock()
	defer t.mu.Unlock()

	users := map[object]struct{}{who: {}}

	if e, ok := t.items[key]; ok { // somebody else waited for it, too
		for u := range e.Value.(*item).users { //nolint:forcetypeassert // the list holds nothing else
			users[u] = struct{}{}
		}

		t.drop(e)
	}

	t.items[key] = t.order.PushFront(&item{key: key, token: token, until: t.now().Add(left), users: users})

	for t.order.Len() > t.size {
		t.drop(t.order.Back())
		t.metrics.evicted()
	}

	t.metrics.kept(t.order.Len())
}

// lifetime is how long a token is kept. Four fifths of its life are what kubelet takes for the tokens of ServiceAccounts.
func (t *tokens) lifetime(token auth.Token) time.Duration {
	if k, ok := token.(*aws.Credentials); ok && deref(k.Expiration).IsZero() {
		return t.age // it never expires
	}

	return min(token.GetDuration()/5*4, t.age)
}

// drop forgets a token. The caller holds the lock.
func (t *tokens) drop(e *list.Element) {
	delete(t.items, t.order.Remove(e).(*item).key) //nolint:forcetypeassert // the list holds nothing else
	t.metrics.kept(t.order.Len())
}

// forget drops what is kept for an object alone.
func (t *tokens) forget(who object) {
	t.metrics.forget(who)

	t.mu.Lock()
	defer t.mu.Unlock()

	for e := t.order.Front(); e != nil; {
		it, next := e.Value.(*item), e.Next() //nolint:forcetypeassert // the list holds nothing else

		delete(it.users, who)

		if len(it.users) == 0 {
			t.drop(e)
		}

		e = next
	}
}
