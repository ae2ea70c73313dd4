#!/usr/bin/env python3
"""Judges the sample PDFs with programs that are not ours.

    cargo run --release -p scaicontrol-render --example samples -- FOLDER
    python3 impl/render/tests/oracle.py FOLDER

Needs pikepdf from PyPI: it reads PDF/A-3B, an output intent, and an embedded program for every font. What else is here
judges too: qpdf (no fault), poppler-utils (the table's head stands on every page of lines), and with it WeasyPrint (the
same text of the same page).
"""
import pathlib
import shutil
import subprocess
import sys

import pikepdf

try:
    import weasyprint
except (ImportError, OSError):
    weasyprint = None

QPDF, POPPLER = shutil.which("qpdf"), shutil.which("pdftotext")

# WeasyPrint is slow on long documents, and has other fonts for scripts that ours lacks.
NOT_COMPARED = {"thousand", "long"}


def text(pdf, *options):
    done = subprocess.run(["pdftotext", *options, str(pdf), "-"], check=True, capture_output=True, text=True)
    return done.stdout


def characters(pdf):
    """Every character, wherever its line was broken."""
    return sorted("".join(text(pdf, "-raw").split()))


def programs(font):
    """What a font is drawn with; a composite font keeps it in its descendants."""
    for part in font.get("/DescendantFonts", [font]):
        yield any(name in part.FontDescriptor for name in ("/FontFile", "/FontFile2", "/FontFile3"))


def judge(pdf):
    if QPDF:
        subprocess.run(["qpdf", "--check", str(pdf)], check=True, capture_output=True)
    with pikepdf.open(pdf) as document:
        metadata = document.open_metadata()
        assert metadata.pdfa_status == "3B", metadata.pdfa_status
        assert document.Root.OutputIntents[0].S == "/GTS_PDFA1"
        fonts = [font for page in document.pages for font in page.resources.get("/Font", {}).values()]
        assert fonts and all(all(programs(font)) for font in fonts), f"{pdf.name}: a font is not embedded"
        return len(document.pages)


def main(folder):
    missing = [name for name, found in (("qpdf", QPDF), ("poppler-utils", POPPLER), ("weasyprint", weasyprint)) if not found]
    if missing:
        print(f"not here, so they do not judge: {', '.join(missing)}")
    for pdf in sorted(folder.glob("*.pdf")):
        if pdf.name.startswith("oracle."):
            continue
        pages = judge(pdf)
        case = pdf.name.split(".")[0]
        html = pdf.with_suffix(".html").read_text()
        if case == "thousand" and POPPLER:
            head = html.split('<th class="price">')[1].split("<")[0]
            for page in range(1, pages):
                assert head in text(pdf, "-f", str(page), "-l", str(page)), f"{pdf.name}: no head on page {page}"
        if case not in NOT_COMPARED and POPPLER and weasyprint:
            other = pdf.with_name("oracle." + pdf.name)
            style = weasyprint.CSS(filename=str(pdf.with_suffix(".css")))
            weasyprint.HTML(string=html, base_url=str(pathlib.Path(__file__).parent / "cases") + "/").write_pdf(
                other, stylesheets=[style]
            )
            ours, theirs = characters(pdf), characters(other)
            assert ours == theirs, f"{pdf.name}: WeasyPrint has another text"
        print(f"{pdf.name}: {pages} pages, sound")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
