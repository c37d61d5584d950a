"""The report: one HTML file that shows what a database holds about a suite.

`evidence` reads the store; `speeds`, `algorithms`, `searches` and `lines` turn trials into chart
data; `figures` turns those into Plotly's figures; `page` writes the file. Only the first knows the
store, and only the last two know HTML.
"""
