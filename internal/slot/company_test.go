package slot

import (
	"testing"
	"time"
)

const ms = time.Millisecond

func TestFewWaitForNobody(t *testing.T) {
	var c company
	for now := time.Duration(0); now < 100*ms; now += 10 * ms {
		for n := 1; n <= 2; n++ {
			if d := c.wait(now, 0, n); d != 0 {
				t.Fatalf("%d proposals wait %v at %v", n, d, now)
			}
		}
		c.left(now, 2)
	}
}

func TestManyWaitForAsManyAsCameWithTheLastTwoBatches(t *testing.T) {
	var c company
	c.left(0, 5)
	c.left(10*ms, 7)
	if d := c.wait(11*ms, 1, 4); d != 0 {
		t.Errorf("waits %v although the batch is under way: that is the loop's to know", d)
	}
	if d := c.wait(12*ms, 0, 4); d != 2*ms {
		t.Errorf("waits %v, the batch was under way for 2ms", d)
	}
	if d := c.wait(13*ms, 0, 11); d != ms {
		t.Errorf("a millisecond later %v", d)
	}
	if d := c.wait(13*ms, 0, 12); d != 0 {
		t.Errorf("all are there, and it waits %v", d)
	}
	if d := c.wait(14*ms, 0, 4); d != 0 {
		t.Errorf("its time is over, and it waits %v", d)
	}
}

func TestPatienceHasAnEnd(t *testing.T) {
	var c company
	c.left(0, 50)
	c.left(0, 50)
	if d := c.wait(time.Second, 0, 1); d != maxPatience {
		t.Errorf("waits %v after a batch that took a second", d)
	}
}

func TestExpectationsSinkWhenTheCrowdHasGone(t *testing.T) {
	var c company
	c.left(0, 64)
	c.left(0, 64)
	batches := 0
	for now := ms; c.wait(now, 0, 1) > 0; now += ms {
		c.left(now, 1)
		if batches++; batches > 40 {
			t.Fatal("a lone client waits for a crowd that has gone")
		}
	}
}
