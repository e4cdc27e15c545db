"""claims: the claims of the reproduced paper's abstract, judged."""

from __future__ import annotations

from cimlab.reporting.evidence import Evidence
from cimlab.reporting.parts import table
from cimlab.reporting.table import Column, Table


@table("claims", "The abstract's claims, judged by our measurements")
def claims_table(evidence: Evidence) -> Table:
    """With the rule and the evidence of each verdict."""
    columns = tuple(Column(h, text=True) for h in ("claim", "holds if", "verdict", "evidence"))
    rows = tuple((v.claim, v.rule, v.verdict, v.evidence) for v in evidence.verdicts)
    return Table(columns, rows)
