//go:build race

package disk

// raceDetector slows a copy down by ten times and more: what is done often only
// to be sure is done less often under it, since it is also done without.
const raceDetector = true
