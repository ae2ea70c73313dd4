#!/usr/bin/env python3
"""Judges the sample PDFs with programs that are not ours.

    cargo run --release -p scaicontrol-render --example samples -- FOLDER
    python3 impl/render/tests/oracle.py FOLDER

Needs qpdf and poppler-utils, and from PyPI pikepdf and weasyprint. For each PDF: qpdf finds no fault, pikepdf reads
PDF/A-3B and an output intent, every font is embedded, the table's head stands on every page of lines, and WeasyPrint
makes the same text of the same page.
"""
import pathlib
import subprocess
import sys

import pikepdf
import weasyprint

# WeasyPrint is slow on long documents, and has other fonts for scripts that ours lacks.
NOT_COMPARED = {"thousand", "long"}


def text(pdf, *options):
    done = subprocess.run(["pdftotext", *options, str(pdf), "-"], check=True, capture_output=True, text=True)
    return done.stdout


def characters(pdf):
    """Every character, wherever its line was broken."""
    return sorted("".join(text(pdf, "-raw").split()))


def judge(pdf):
    subprocess.run(["qpdf", "--check", str(pdf)], check=True, capture_output=True)
    with pikepdf.open(pdf) as document:
        metadata = document.open_metadata()
        assert metadata.pdfa_status == "3B", metadata.pdfa_status
        assert document.Root.OutputIntents[0].S == "/GTS_PDFA1"
        pages = len(document.pages)
    fonts = subprocess.run(["pdffonts", str(pdf)], check=True, capture_output=True, text=True).stdout.splitlines()[2:]
    assert fonts and all(line.split()[-5:-2] == ["yes", "yes", "yes"] for line in fonts), fonts
    return pages


def main(folder):
    for pdf in sorted(folder.glob("*.pdf")):
        if pdf.name.startswith("oracle."):
            continue
        pages = judge(pdf)
        case = pdf.name.split(".")[0]
        html = pdf.with_suffix(".html").read_text()
        if case == "thousand":
            head = html.split('<th class="price">')[1].split("<")[0]
            for page in range(1, pages):
                assert head in text(pdf, "-f", str(page), "-l", str(page)), f"{pdf.name}: no head on page {page}"
        if case not in NOT_COMPARED:
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
