package peers

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// corpus makes messages that are the same in each run. They look like mail: trace
// fields, a signature, threads of five, one in five with an HTML alternative.
type corpus struct {
	random *rand.Rand
	began  time.Time
	size   int // octets of a message, about
}

func newCorpus(size int) *corpus {
	return &corpus{random: rand.New(rand.NewPCG(1, 2)), began: time.Date(2026, 1, 1, 8, 0, 0, 0, time.UTC), size: size}
}

var words = strings.Fields(`about after again airport annual answer apples archive autumn balance basket because before bicycle
bridge budget button calendar camera candle carpet castle change cheese children coffee colour copper corner cotton
country decide dinner doctor drawing early engine evening factory family farmer figure finger flower forest garden
glass guitar hammer harbour history holiday honest hotel island january journey kitchen ladder language lawyer lemon
letter library machine market meeting mirror monday morning mountain music needle number office orange paper pencil
people picture plate pocket pointer quarter question railway report river school season second shadow silver simple
station summer table theatre thursday ticket tomorrow valley village violin weather wednesday window winter yellow`)

// prose is n octets of lines.
func (c *corpus) prose(n int) string {
	var b strings.Builder
	line := 0
	for b.Len() < n {
		w := words[c.random.IntN(len(words))]
		switch {
		case line+len(w) > 70:
			b.WriteString("\r\n")
			line = 0
		case line > 0:
			b.WriteByte(' ')
		}
		b.WriteString(w)
		line += len(w) + 1
	}
	b.WriteString("\r\n")
	return b.String()
}

// message is the nth message.
func (c *corpus) message(n int) []byte {
	at := c.date(n)
	date := at.Format(time.RFC1123Z)
	var b bytes.Buffer
	fmt.Fprintf(&b, "Return-Path: <s%d@sender.example>\r\n", n%50)
	fmt.Fprintf(&b, "Received: from mx.example by store.example with LMTP id %d;\r\n\t%s\r\n", n, date)
	fmt.Fprintf(&b, "Received: from sender.example (sender.example [192.0.2.7])\r\n\tby mx.example with ESMTPS id %X;\r\n\t%s\r\n", n*7919, date)
	fmt.Fprintf(&b, "DKIM-Signature: v=1; a=rsa-sha256; d=sender.example; s=one;\r\n\th=from:to:subject:date;\r\n\tb=%s\r\n", strings.Repeat("q7XkLm9Z", 24))
	fmt.Fprintf(&b, "From: Sender %d <s%d@sender.example>\r\nTo: Reader <reader@example.test>\r\n", n%50, n%50)
	subject := fmt.Sprintf("thread %d about a %s", n/5, words[n/5%len(words)])
	if first := n / 5 * 5; n > first {
		fmt.Fprintf(&b, "Subject: Re: %s\r\nIn-Reply-To: <%d@sender.example>\r\nReferences: <%d@sender.example>\r\n", subject, n-1, first)
	} else {
		fmt.Fprintf(&b, "Subject: %s\r\n", subject)
	}
	fmt.Fprintf(&b, "Date: %s\r\nMessage-ID: <%d@sender.example>\r\nMIME-Version: 1.0\r\n", date, n)
	room := max(200, c.size*3/4+c.random.IntN(c.size/2)-b.Len())
	if n%5 != 3 {
		fmt.Fprintf(&b, "Content-Type: text/plain; charset=utf-8\r\n\r\n%s", c.prose(room))
		return b.Bytes()
	}
	b.WriteString("Content-Type: multipart/alternative; boundary=\"parts\"\r\n\r\n--parts\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n")
	b.WriteString(c.prose(room / 3))
	b.WriteString("--parts\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<html><body><p>\r\n")
	b.WriteString(c.prose(room / 2))
	b.WriteString("</p></body></html>\r\n--parts--\r\n")
	return b.Bytes()
}

// date is when the nth message was sent: one every five minutes.
func (c *corpus) date(n int) time.Time { return c.began.Add(time.Duration(n) * 5 * time.Minute) }

// flags are those of the nth message.
func flags(n int) string {
	switch {
	case n%100 == 0:
		return "(\\Seen $Junk)"
	case n%3 == 0:
		return "()"
	}
	return "(\\Seen)"
}
