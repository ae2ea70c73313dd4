DROP TABLE invoice_pdfs;
DROP TABLE invoice_originals;
DROP FUNCTION sc_template_known(text, text, text, boolean);
DROP FUNCTION sc_platform_template_versions(uuid);
DROP FUNCTION sc_platform_templates();
DROP TABLE template_versions;
DROP TABLE templates;
