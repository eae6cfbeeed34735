package main

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
)

var errDiffers = errors.New("what came back is not what was there")

// report prints both views side by side and fails if consumers could tell them apart.
func report(out io.Writer, before, after *view) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	equal := before.records == after.records && before.checksum == after.checksum && before.records > 0
	fmt.Fprintf(w, "\nTOPIC\tRECORDS BEFORE\tAFTER\tCHECKSUM BEFORE\tAFTER\tEQUAL\n%s\t%d\t%d\t%s\t%s\t%s\n",
		ordersTopic, before.records, after.records, before.checksum, after.checksum, yes(equal))
	fmt.Fprintf(w, "\nGROUP\tTOPIC\tPARTITION\tOLD OFFSET\tNEW OFFSET\tNEXT RECORD\tTHE SAME\n")
	for p := range int32(partitions) {
		was, there := before.group[p]
		is := after.group[p]
		same := there && was.next != "" && was.next == is.next
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%s\t%s\n", billingGroup, ordersTopic, p, was.offset, is.offset, is.next, yes(same))
		equal = equal && same
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if !equal || len(after.group) != len(before.group) {
		return errDiffers
	}
	return nil
}

func yes(is bool) string {
	if is {
		return "yes"
	}
	return "NO"
}
