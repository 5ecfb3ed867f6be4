while (true) { alert("for ever") }
