package main

import "slices"

// points has recovery points with names, of which some are pinned, unpinned and deleted, the newest among them; and a name that is given again.
func points(s *source) {
	const topic = "named"
	s.create(topic, 2, nil)
	name := func(name string, records int) *point {
		for p := range int32(2) {
			s.produce(s.client, topic, p, textRecords(name, records)...)
		}
		return s.quietPointBy("point", "create", name)
	}
	name("before-the-upgrade", 3)
	gone := name("again", 2)
	name("Pinned_1.0", 4)
	s.run("point", "pin", "Pinned_1.0")
	s.run("point", "pin", "before-the-upgrade")
	s.run("point", "unpin", "before-the-upgrade")
	s.run("point", "delete", "again")
	name("again", 1)
	newest := name("newest", 5)
	s.run("point", "delete", "newest")
	s.points = slices.DeleteFunc(s.points, func(p *point) bool { return p == gone || p == newest })
}
