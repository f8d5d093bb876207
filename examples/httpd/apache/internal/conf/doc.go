// Package conf reads the syntax of Apache's configuration files into a tree of
// directives: sections, continued lines, quotes, variables, Include, and the
// conditional sections. It knows no directive beyond those; what they mean is
// for the caller to say.
package conf
