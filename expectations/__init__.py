"""Great Expectations suites: what every transaction table must satisfy, plus a table's own."""
