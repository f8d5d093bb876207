//go:build !race

package cachetest_test

const raceDetector = false
