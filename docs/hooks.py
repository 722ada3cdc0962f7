"""What the site takes besides MkDocs: folders in its navigation, formulas as MathML, links that leave this folder."""

import html
import re
from pathlib import Path, PurePosixPath
from typing import Any

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

REPOSITORY = Path(__file__).parents[1]
ICON = "icon.svg"
_INDEXES = ("index.md", "README.md")
_LINK = re.compile(r"\[(?P<text>[^\]\[]+)\]\((?P<target>[^)\s#]+)(?:#[^)\s]*)?\)")
_FORMULA = re.compile(r'<(?P<tag>span|div) class="arithmatex">\s*\\[(\[](?P<latex>.*?)\\[)\]]\s*</(?P=tag)>', re.DOTALL)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put a folder's pages in its place in the navigation."""
    config.nav = _unfolded(config.nav, Path(config.docs_dir))
    return config


def _unfolded(entry: Any, docs: Path) -> Any:
    if isinstance(entry, list):
        return [_unfolded(one, docs) for one in entry]
    if isinstance(entry, dict):
        return {title: _unfolded(one, docs) for title, one in entry.items()}
    return pages_of(docs, entry) if entry.endswith("/") else entry


def pages_of(docs: Path, folder: str) -> list[str]:
    """The pages of a folder: its index, then what the index links to, then the others by name."""
    names = sorted(path.name for path in (docs / folder).glob("*.md"))
    index = next((name for name in _INDEXES if name in names), None)
    text = (docs / folder / index).read_text(encoding="utf-8") if index else ""
    linked = [match["target"] for match in _LINK.finditer(text) if match["target"] in names]
    return [folder + name for name in dict.fromkeys([*([index] if index else []), *linked, *names])]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The dashboard's icon is the site's, too."""
    files.append(File.generated(config, ICON, abs_src_path=str(REPOSITORY / "api" / "dashboard" / ICON)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, **_: Any) -> str:
    """Leave of a link to the repository's other files its text: they are no part of the site."""
    folder = PurePosixPath("docs", page.file.src_uri).parent

    def shown(match: re.Match[str]) -> str:
        target = match["target"]
        if not target.startswith("../"):
            return match[0]
        path = (REPOSITORY / folder / target).resolve()
        if path.is_relative_to(Path(config.docs_dir)):
            return match[0]
        if not path.exists():
            raise PluginError(f"docs/{page.file.src_uri} links to {target}, which the repository does not have")
        return match["text"]

    return _LINK.sub(shown, markdown)


def on_page_content(content: str, page: Page, **_: Any) -> str:
    """Write formulas as MathML, which browsers draw by themselves."""
    return _FORMULA.sub(lambda match: _mathml(match, page), content)


def _mathml(match: re.Match[str], page: Page) -> str:
    latex = html.unescape(match["latex"]).strip()
    written = convert(latex, display="block" if match["tag"] == "div" else "inline")
    # Words that the converter does not know, and columns outside of a table, come out as they went in.
    if unknown := re.search(r"<m[ion]>(\\[^<]*|&)</m[ion]>", written):
        raise PluginError(f"docs/{page.file.src_uri}: {unknown[1]} in the formula {latex} is not known to latex2mathml")
    return written
