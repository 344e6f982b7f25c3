package events

import "container/list"

// job is an event that waits to be written.
type job struct {
	series   *series
	warning  bool
	body     []byte // to create it; nil when only its count has to be written
	attempts int
}

// queue holds jobs, warnings before others.
type queue struct {
	most             int
	warnings, others list.List
}

func (q *queue) len() int { return q.warnings.Len() + q.others.Len() }

// push adds a job. It returns the one for which there is no room: the oldest that is no warning if the job is one, or the job
// itself; nil if there is room.
func (q *queue) push(j *job) (dropped *job) {
	if q.len() >= q.most {
		if oldest := q.others.Front(); !j.warning || oldest == nil {
			return j
		} else if d, ok := q.others.Remove(oldest).(*job); ok {
			dropped = d
		}
	}

	if j.warning {
		q.warnings.PushBack(j)
	} else {
		q.others.PushBack(j)
	}

	return dropped
}

// pop returns the next job, nil if there is none.
func (q *queue) pop() *job {
	for _, l := range []*list.List{&q.warnings, &q.others} {
		if first := l.Front(); first != nil {
			j, _ := l.Remove(first).(*job)

			return j
		}
	}

	return nil
}
