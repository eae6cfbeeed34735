// Package remote has what the stores have in common that are reached by HTTP:
// what failed before it was sent, what may be sent again, and whether an answer
// is complete. Of no provider it knows more than that.
package remote
