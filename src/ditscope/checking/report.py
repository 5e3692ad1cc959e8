"""What a check of a model found, one line a check."""

from __future__ import annotations

import html
from dataclasses import dataclass, field

from ditscope.errors import CheckError


@dataclass(frozen=True)
class Finding:
    """One check: what was claimed, whether it held, and the figures."""

    claim: str
    holds: bool
    detail: str


@dataclass(frozen=True)
class Report:
    """The findings of :func:`ditscope.checking.check.check_model`.

    Attributes:
        model: the model that was checked, in words.
        versions: versions of the libraries.
        findings: one for each check, in order.
    """

    model: str
    versions: dict[str, str]
    findings: tuple[Finding, ...] = field(default=())

    @property
    def ok(self) -> bool:
        """Whether every check held."""
        return all(finding.holds for finding in self.findings)

    def require(self) -> Report:
        """The report itself, if every check held.

        Raises:
            CheckError: naming the claims that did not hold.
        """
        broken = [f"{finding.claim} ({finding.detail})" for finding in self.findings if not finding.holds]
        if broken:
            failing = f"{len(broken)} of {len(self.findings)} checks failing on {self.model}"
            raise CheckError(
                f"{failing}: {'; '.join(broken)}",
                "every check to hold",
                "Do not record from this model; compare the installed versions with the tested ones.",
            )
        return self

    def __str__(self) -> str:
        lines = [f"check of {self.model}"]
        lines += [f"  {'ok  ' if f.holds else 'FAIL'}  {f.claim}: {f.detail}" for f in self.findings]
        passed = sum(finding.holds for finding in self.findings)
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return "\n".join([*lines, f"  {passed} of {len(self.findings)} hold, with {versions}"])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{'✓' if f.holds else '✗'}</td><td>{html.escape(f.claim)}</td>"
            f"<td>{html.escape(f.detail)}</td></tr>"
            for f in self.findings
        )
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return (
            f"<table><caption>{html.escape(self.model)}<br>{html.escape(versions)}</caption>"
            f"<tr><th></th><th>claim</th><th>found</th></tr>{rows}</table>"
        )
