"""The report: one HTML file that shows what a database holds about a suite.

`evidence` reads the store; `speeds`, `algorithms`, `searches` and `lines` turn trials into chart
data; the modules named `*figures` turn those into Plotly's figures, and `*charts` add their words;
`page` writes the file. Only the first knows the store, and only the last HTML.
"""
