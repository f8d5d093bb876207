package backend

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestFailedChecks: they stand beside the state, and only checks take them off.
func TestFailedChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h Health
		down := errors.New("down")
		require.True(t, h.SetCheck(true, down))
		require.False(t, h.SetCheck(true, down), "the same verdict")
		require.True(t, h.Unwell())
		require.False(t, h.Usable(time.Now()))
		h.Fail(down, time.Second)
		time.Sleep(time.Second)
		_, ok := h.Admit()
		require.False(t, ok, "no trial either")
		h.Recover()
		require.True(t, h.Unwell())
		require.Equal(t, Condition{State: StateUsable, Since: time.Now(), Due: time.Now(), CheckFailed: true, CheckCause: down}, h.Condition())
		require.True(t, h.SetCheck(false, nil))
		require.False(t, h.Unwell())
	})
}

// TestWaitBeginsAnew: another failure puts the trial off, but the state is as
// old as it was.
func TestWaitBeginsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h Health
		begun := time.Now()
		require.Equal(t, StateUsable, h.Fail(errors.New("down"), time.Minute))
		time.Sleep(30 * time.Second)
		require.Equal(t, StateError, h.Fail(errors.New("down"), time.Minute))
		c := h.Condition()
		require.Equal(t, begun, c.Since)
		require.Equal(t, begun.Add(90*time.Second), c.Due)
	})
}
