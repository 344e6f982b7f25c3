// Package maintenance tells when something may happen: at the times of a cron expression in a time zone, and in the windows that
// open at such times. What a clock on the wall shows counts. An hour that it shows twice, because it was put back, counts twice; what
// would be in an hour that it skips, because it was put forward, is at the moment of the jump.
//
// It does not wait, and has no clock: whoever asks says what time it is.
package maintenance
