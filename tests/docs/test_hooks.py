"""What the site does with folders, formulas, and links that leave it."""

from pathlib import Path

import pytest

from tests.docs.pages import REPOSITORY

pytest.importorskip("mkdocs", reason="MkDocs is not installed: `make docs` installs it")

from mkdocs.config import load_config
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File
from mkdocs.structure.pages import Page

from docs import hooks


@pytest.fixture(scope="module")
def config() -> MkDocsConfig:
    return load_config(str(REPOSITORY / "mkdocs.yml"))


@pytest.fixture
def page(config: MkDocsConfig) -> Page:
    return Page(None, File("how-to/upgrade.md", config.docs_dir, config.site_dir, use_directory_urls=True), config)


def test_a_folder_is_read_in_the_order_in_which_its_index_links(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for name in ("a", "b", "c", "d"):
        (tmp_path / "folder" / f"{name}.md").write_text("# Page\n")
    (tmp_path / "folder" / "index.md").write_text("First [c](c.md#part), then [b](b.md) and [c](c.md) again.\n")
    assert hooks.pages_of(tmp_path, "folder/") == [f"folder/{name}.md" for name in ("index", "c", "b", "a", "d")]


def test_a_link_to_a_file_outside_leaves_its_text(page: Page, config: MkDocsConfig) -> None:
    told = "See the [README](../../README.md), [a decision](../decisions/0018-owners.md) and [a name](other.md)."
    shown = "See the README, [a decision](../decisions/0018-owners.md) and [a name](other.md)."
    assert hooks.on_page_markdown(told, page, config) == shown


def test_a_link_to_a_file_that_is_not_there_is_refused(page: Page, config: MkDocsConfig) -> None:
    with pytest.raises(PluginError, match=r"docs/how-to/upgrade\.md links to \.\./\.\./NOTHING\.md"):
        hooks.on_page_markdown("[nothing](../../NOTHING.md)", page, config)


def test_formulas_become_mathml(page: Page) -> None:
    inline = hooks.on_page_content(r'<p><span class="arithmatex">\(a &lt; b\)</span></p>', page)
    block = hooks.on_page_content('<div class="arithmatex">\\[\n\\frac{a}{b}\n\\]</div>', page)
    assert "<mi>a</mi><mo>&#x0003C;</mo><mi>b</mi>" in inline
    assert 'display="block"' in block
    assert "<mfrac>" in block


@pytest.mark.parametrize(("latex", "unknown"), [(r"\nonsense{a}", r"\\nonsense"), (r"a &amp;= b", "&")])
def test_a_formula_that_would_come_out_as_it_went_in_is_refused(page: Page, latex: str, unknown: str) -> None:
    with pytest.raises(PluginError, match=rf"docs/how-to/upgrade\.md: {unknown} in the formula"):
        hooks.on_page_content(rf'<span class="arithmatex">\({latex}\)</span>', page)
