-- Tables and views made of `documents`, each with its meaning. Run once, when the audit database is built.

CREATE TABLE sources AS
SELECT source,
       count(*)                                            AS documents,
       count(*) FILTER (outcome = 'quarantined')           AS quarantined,
       count(*) FILTER (outcome = 'dropped')               AS dropped,
       count(*) FILTER (outcome = 'duplicate')             AS duplicate,
       count(*) FILTER (outcome = 'left_out')              AS left_out,
       count(*) FILTER (outcome = 'curated')               AS curated,
       count(*) FILTER (outcome = 'curated') / count(*)    AS retention,
       min(date)                                           AS first_date,
       max(date)                                           AS last_date
FROM documents GROUP BY source ORDER BY source;
COMMENT ON TABLE sources IS 'one row a source: what became of its documents';
COMMENT ON COLUMN sources.source IS 'who supplied the documents';
COMMENT ON COLUMN sources.documents IS 'input rows';
COMMENT ON COLUMN sources.quarantined IS 'rows that could not be read as documents';
COMMENT ON COLUMN sources.dropped IS 'documents a rule dropped';
COMMENT ON COLUMN sources.duplicate IS 'documents another member of their cluster stands for';
COMMENT ON COLUMN sources.left_out IS 'kept by the rules, not drawn for the mixture';
COMMENT ON COLUMN sources.curated IS 'documents in the mixture';
COMMENT ON COLUMN sources.retention IS 'curated / documents';
COMMENT ON COLUMN sources.first_date IS 'earliest date of its documents, UTC';
COMMENT ON COLUMN sources.last_date IS 'latest date of its documents, UTC';

CREATE TABLE cluster_members AS
SELECT cluster, doc_id, source, url, date, duplicate_kind AS kind, similarity, survivor, survivor_similarity, outcome
FROM documents WHERE duplicate_kind IS NOT NULL
ORDER BY cluster, similarity DESC, doc_id;
COMMENT ON TABLE cluster_members IS 'one row a document that has duplicates in this corpus, sorted by cluster';
COMMENT ON COLUMN cluster_members.cluster IS 'doc_id of the centre';
COMMENT ON COLUMN cluster_members.doc_id IS 'the member';
COMMENT ON COLUMN cluster_members.source IS 'who supplied it';
COMMENT ON COLUMN cluster_members.url IS 'address it was fetched from';
COMMENT ON COLUMN cluster_members.date IS 'when it was first seen, as its source says, UTC';
COMMENT ON COLUMN cluster_members.kind IS 'exact or near; of the centre: how it has its nearest duplicate';
COMMENT ON COLUMN cluster_members.similarity IS 'true Jaccard similarity of its shingles to the centre';
COMMENT ON COLUMN cluster_members.survivor IS 'doc_id of the document that stands for it; its own when it survives';
COMMENT ON COLUMN cluster_members.survivor_similarity IS 'true Jaccard similarity of its shingles to the survivor';
COMMENT ON COLUMN cluster_members.outcome IS 'what became of it';

CREATE TABLE clusters AS
SELECT cluster,
       count(*)                                    AS members,
       any_value(survivor)                         AS survivor,
       count(*) FILTER (kind = 'exact')            AS exact_members,
       min(similarity)                             AS min_similarity,
       count(DISTINCT source)                      AS sources,
       count(*) FILTER (outcome = 'duplicate')     AS removed
FROM cluster_members
GROUP BY cluster ORDER BY members DESC, cluster;
COMMENT ON TABLE clusters IS 'one row a duplicate cluster of two or more documents';
COMMENT ON COLUMN clusters.cluster IS 'doc_id of the centre';
COMMENT ON COLUMN clusters.members IS 'documents in the cluster';
COMMENT ON COLUMN clusters.survivor IS 'doc_id of the member that stands for it: earliest dated, then lowest P(synthetic), then longest, then id, among those without a fault';
COMMENT ON COLUMN clusters.exact_members IS 'members with the same words as the centre';
COMMENT ON COLUMN clusters.min_similarity IS 'lowest true Jaccard similarity of a member to the centre';
COMMENT ON COLUMN clusters.sources IS 'number of sources its members come from';
COMMENT ON COLUMN clusters.removed IS 'members dropped as duplicates';

CREATE TABLE quarantine AS
SELECT doc_id, source, path, "row", record_id, quarantine AS reason FROM documents WHERE quarantine IS NOT NULL
ORDER BY source, path, "row";
COMMENT ON TABLE quarantine IS 'input rows that could not be read as documents';
COMMENT ON COLUMN quarantine.doc_id IS 'id of the row';
COMMENT ON COLUMN quarantine.source IS 'who supplied it';
COMMENT ON COLUMN quarantine.path IS 'input file';
COMMENT ON COLUMN quarantine."row" IS 'row number in that file, from 0';
COMMENT ON COLUMN quarantine.record_id IS 'the supplier''s id';
COMMENT ON COLUMN quarantine.reason IS 'why it could not be read';

CREATE VIEW reasons AS
SELECT unnest(reasons) AS reason, doc_id, source, outcome FROM documents;
COMMENT ON VIEW reasons IS 'one row for every reason of every document, those of deduplication and mixture too';
COMMENT ON COLUMN reasons.reason IS 'rule that fired; duplicate; mixture when it was not drawn';
COMMENT ON COLUMN reasons.doc_id IS 'the document';
COMMENT ON COLUMN reasons.source IS 'who supplied it';
COMMENT ON COLUMN reasons.outcome IS 'what became of it';

CREATE VIEW verdicts AS
SELECT fired.doc_id, fired.source, fired.reason, fired.alone, fired.outcome, rules.position, rules.sql
FROM (SELECT doc_id, source, unnest(reasons) AS reason, len(reasons) = 1 AS alone, outcome
      FROM documents WHERE outcome = 'dropped') AS fired
JOIN rules USING (reason);
COMMENT ON VIEW verdicts IS 'one row for every document and rule that fired on it';
COMMENT ON COLUMN verdicts.doc_id IS 'the document';
COMMENT ON COLUMN verdicts.source IS 'who supplied it';
COMMENT ON COLUMN verdicts.reason IS 'name of the fault';
COMMENT ON COLUMN verdicts.alone IS 'no other rule fired: without this one it would have passed the rules';
COMMENT ON COLUMN verdicts.outcome IS 'what became of it: dropped';
COMMENT ON COLUMN verdicts."position" IS 'order of the rule in the recipe';
COMMENT ON COLUMN verdicts."sql" IS 'condition under which the rule drops a document';

CREATE TABLE drop_counts AS
SELECT reason,
       count(*)                              AS documents,
       count(*) FILTER (len_reasons = 1)     AS for_this_alone
FROM (SELECT unnest(reasons) AS reason, len(reasons) AS len_reasons FROM documents)
GROUP BY reason ORDER BY documents DESC, reason;
COMMENT ON TABLE drop_counts IS 'how many documents each reason touched, and how many it alone';
COMMENT ON COLUMN drop_counts.reason IS 'rule that fired; duplicate; mixture when it was not drawn';
COMMENT ON COLUMN drop_counts.documents IS 'documents it touched';
COMMENT ON COLUMN drop_counts.for_this_alone IS 'of these, documents with no other reason';

CREATE VIEW margins AS
SELECT s.dimension, s.stratum,
       any_value(s.n) FILTER (s.scope = 'input')                    AS input,
       any_value(s.n) FILTER (s.scope = 'kept')                     AS kept,
       any_value(s.n) FILTER (s.scope = 'mixture')                  AS mixture,
       any_value(s.n / nullif(w.n, 0)) FILTER (s.scope = 'input')   AS input_fraction,
       any_value(s.n / nullif(w.n, 0)) FILTER (s.scope = 'mixture') AS mixture_fraction,
       mixture / nullif(input, 0)                                   AS retention,
       mixture_fraction / nullif(input_fraction, 0)                 AS enrichment
FROM shares AS s JOIN shares AS w ON w.scope = s.scope AND w.unit = s.unit AND w.dimension = 'all'
WHERE s.unit = 'docs' AND s.dimension <> 'all'
GROUP BY ALL ORDER BY s.dimension, input DESC, s.stratum;
COMMENT ON VIEW margins IS 'what the mixture holds of every source, language, month and host beside what came in';
COMMENT ON COLUMN margins.dimension IS 'source, language, month or host';
COMMENT ON COLUMN margins.stratum IS 'value of that dimension; documents without one are in no row';
COMMENT ON COLUMN margins.input IS 'readable documents';
COMMENT ON COLUMN margins.kept IS 'documents kept by rules and deduplication';
COMMENT ON COLUMN margins.mixture IS 'documents in the mixture';
COMMENT ON COLUMN margins.input_fraction IS 'input, of all readable documents';
COMMENT ON COLUMN margins.mixture_fraction IS 'mixture, of all documents in the mixture';
COMMENT ON COLUMN margins.retention IS 'mixture / input';
COMMENT ON COLUMN margins.enrichment IS 'mixture_fraction / input_fraction: over 1 where the mixture holds more of it than the input did';
