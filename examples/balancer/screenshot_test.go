package main

import "os"

// screenshot is where to leave a picture of the manager, for a look at it.
func screenshot() string { return os.Getenv("MODPROXY_SCREENSHOT") }
