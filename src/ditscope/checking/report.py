"""What a check of a model measured, one line a check."""

from __future__ import annotations

from dataclasses import dataclass, field

from ditscope._display import html_table
from ditscope.errors import CheckError


@dataclass(frozen=True)
class Finding:
    """One check: what was claimed, whether it is true, and the figures."""

    claim: str
    holds: bool
    detail: str


@dataclass(frozen=True)
class CheckReport:
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
        """Whether every check passed."""
        return all(finding.holds for finding in self.findings)

    def require(self) -> CheckReport:
        """The report itself, if every check passed.

        Raises:
            CheckError: naming the claims that are not true.
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
        return "\n".join([*lines, f"  {passed} of {len(self.findings)} hold, with {self._libraries}"])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = [("✓" if f.holds else "✗", f.claim, f.detail) for f in self.findings]
        return html_table(f"{self.model}, with {self._libraries}", rows, ("", "claim", "measured"))

    @property
    def _libraries(self) -> str:
        return ", ".join(f"{name} {version}" for name, version in self.versions.items())
