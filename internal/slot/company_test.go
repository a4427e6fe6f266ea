package slot

import (
	"testing"
	"time"
)

const ms = time.Millisecond

// fly lets a batch of n be under way from one time to another, when so many wait.
func (c *company) fly(from, to time.Duration, n, waiting int) {
	c.left(from, n)
	c.landed(to, waiting)
}

func TestFewWaitForNobody(t *testing.T) {
	var c company
	for now := time.Duration(0); now < 100*ms; now += 10 * ms {
		for n := 1; n <= 2; n++ {
			if d := c.wait(now, n); d != 0 {
				t.Fatalf("%d proposals wait %v at %v", n, d, now)
			}
		}
		c.fly(now, now+2*ms, 2, 2)
	}
}

func TestManyWaitForThoseWhoWereAnswered(t *testing.T) {
	var c company
	c.fly(10*ms, 12*ms, 7, 5)
	if d := c.wait(12*ms, 5); d != 4*ms {
		t.Errorf("waits %v, the batch was under way for 2ms", d)
	}
	c.landed(13*ms, 5) // nothing was: no news
	if d := c.wait(13*ms, 11); d != 3*ms {
		t.Errorf("a millisecond later %v", d)
	}
	if d := c.wait(13*ms, 12); d != 0 {
		t.Errorf("all are there, and it waits %v", d)
	}
	if d := c.wait(16*ms, 5); d != 0 {
		t.Errorf("its time is over, and it waits %v", d)
	}
}

func TestNobodyWaitsForMoreThanThereAre(t *testing.T) {
	var c company
	for now := ms; now < 20*ms; now += 2 * ms {
		c.fly(now, now+ms, 8, 0)
		if d := c.wait(now+ms, 8); d != 0 {
			t.Fatalf("all eight are there, and they wait %v", d)
		}
	}
}

func TestPatienceHasAnEnd(t *testing.T) {
	var c company
	c.fly(0, time.Second, 50, 50)
	if d := c.wait(time.Second, 1); d != maxPatience {
		t.Errorf("waits %v after a batch that took a second", d)
	}
}

func TestExpectationsSinkWhenTheCrowdHasGone(t *testing.T) {
	var c company
	c.fly(0, ms, 64, 64)
	batches := 0
	for now := ms; c.wait(now, 1) > 0; now += ms {
		c.fly(now, now+ms, 1, 0)
		if batches++; batches > 40 {
			t.Fatal("a lone client waits for a crowd that has gone")
		}
	}
}
