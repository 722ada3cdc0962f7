"""The comparison as one HTML page that needs nothing else: no server, no network, no font.

`page` puts it together: `sections` are its words and tables, `drawn` gathers what its charts show, and the JavaScript
beside them draws it with Plotly.
"""

from api.comparison.report.page import report_html

__all__ = ["report_html"]
