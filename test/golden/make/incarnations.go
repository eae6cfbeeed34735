package main

// incarnations has a topic that is deleted and made anew under its name, one that stays away, and one that grows.
func incarnations(s *source) {
	s.create("orders", 2, map[string]string{"retention.bytes": "1000000"})
	s.create("fleeting", 1, nil)
	s.create("growing", 1, nil)
	s.produce(s.client, "orders", 0, textRecords("first life", 7)...)
	s.produce(s.client, "fleeting", 0, textRecords("fleeting", 3)...)
	s.produce(s.client, "growing", 0, textRecords("one", 3)...)
	s.quietPoint()

	s.drop("orders")
	s.drop("fleeting")
	s.create("orders", 3, map[string]string{"cleanup.policy": "compact"})
	s.produce(s.client, "orders", 0, textRecords("second life", 4)...)
	s.produce(s.client, "orders", 2, textRecords("second life", 9)...)
	s.grow("growing")
	s.produce(s.client, "growing", 0, textRecords("two", 2)...)
	s.produce(s.client, "growing", 1, textRecords("two", 2)...)
	s.quietPoint()
}

// grow adds a partition to a topic.
func (s *source) grow(topic string) {
	if s.err != nil {
		return
	}
	answers, err := s.admin.CreatePartitions(s.ctx, 1, topic)
	if err == nil {
		err = answers[topic].Err
	}
	s.fail("grow "+topic, err)
	for i := range s.topics {
		if s.topics[i].Topic == topic {
			s.topics[i].Partitions++
		}
	}
}
