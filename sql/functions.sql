-- AI functions as macros that look answers up, so that the user's query runs as it stands in any client of the database.
-- sqlbatch_answer(signature, input) gives the answer as JSON (NULL: none yet), sqlbatch_error why there is none. The
-- signature is the function with its constant arguments, as Python writes it too (catalogue.signature).

-- text: what the model is shown of a value: a list or a struct as JSON, anything else as DuckDB prints it
CREATE OR REPLACE {temporary} MACRO {schema}sqlbatch_text(sqlbatch_x) AS
  CASE WHEN regexp_matches(typeof(sqlbatch_x), '(\[\d*\]|^STRUCT\(.*\)|^MAP\(.*\)|^UNION\(.*\))$')
    THEN to_json(sqlbatch_x)::VARCHAR ELSE CAST(sqlbatch_x AS VARCHAR) END;

-- value: an answer as a value of the type that a specification names, with its error where on_error is capture
CREATE OR REPLACE {temporary} MACRO {schema}sqlbatch_value(sqlbatch_signature, sqlbatch_input, sqlbatch_spec, sqlbatch_on_error) AS
  from_json(
    CASE WHEN sqlbatch_on_error <> 'capture' THEN {schema}sqlbatch_answer(sqlbatch_signature, sqlbatch_input)
         ELSE concat('{"value":', coalesce({schema}sqlbatch_answer(sqlbatch_signature, sqlbatch_input), 'null'),
           ',"error":', coalesce(to_json({schema}sqlbatch_error(sqlbatch_signature, sqlbatch_input))::VARCHAR, 'null'), '}') END,
    CASE WHEN sqlbatch_on_error <> 'capture' THEN sqlbatch_spec
         ELSE concat('{"value":', sqlbatch_spec, ',"error":"VARCHAR"}') END);

-- macros: the functions
CREATE OR REPLACE {temporary} MACRO {schema}ai_filter(input, predicate := NULL, model := NULL, on_error := 'null', params := NULL) AS
  {schema}sqlbatch_value(to_json(struct_pack("function" := 'ai_filter', predicate := predicate, model := model, params := params))::VARCHAR,
    {schema}sqlbatch_text(input), '"BOOLEAN"', on_error);
CREATE OR REPLACE {temporary} MACRO {schema}ai_classify(input, labels, multi := NULL, instructions := NULL, examples := NULL,
    model := NULL, on_error := 'null', params := NULL) AS
  {schema}sqlbatch_value(to_json(struct_pack("function" := 'ai_classify', labels := labels, multi := multi,
    instructions := instructions, examples := examples, model := model, params := params))::VARCHAR,
    {schema}sqlbatch_text(input), CASE WHEN multi THEN '["VARCHAR"]' ELSE '"VARCHAR"' END, on_error);
CREATE OR REPLACE {temporary} MACRO {schema}ai_extract(input, fields, instructions := NULL, model := NULL, on_error := 'null', params := NULL) AS
  {schema}sqlbatch_value(to_json(struct_pack("function" := 'ai_extract', fields := fields, instructions := instructions,
    model := model, params := params))::VARCHAR, {schema}sqlbatch_text(input),
    CASE WHEN typeof(fields) NOT LIKE 'STRUCT%'
         THEN to_json(map_from_entries(list_transform(fields::VARCHAR[], lambda sqlbatch_f: struct_pack(k := sqlbatch_f, v := 'VARCHAR'))))::VARCHAR
         ELSE regexp_replace(to_json(fields)::VARCHAR, '":"[^"]*[ ?][^"]*"', '":"VARCHAR"', 'g') END, on_error);
CREATE OR REPLACE {temporary} MACRO {schema}ai_complete(input, instructions := NULL, "returns" := NULL, model := NULL, on_error := 'null', params := NULL) AS
  {schema}sqlbatch_value(to_json(struct_pack("function" := 'ai_complete', instructions := instructions, "returns" := "returns",
    model := model, params := params))::VARCHAR, {schema}sqlbatch_text(input), to_json(coalesce("returns", 'VARCHAR'))::VARCHAR, on_error);
CREATE OR REPLACE {temporary} MACRO {schema}ai_score(input, criterion, model := NULL, on_error := 'null', params := NULL) AS
  {schema}sqlbatch_value(to_json(struct_pack("function" := 'ai_score', criterion := criterion, model := model, params := params))::VARCHAR,
    {schema}sqlbatch_text(input), '"DOUBLE"', on_error);
CREATE OR REPLACE {temporary} MACRO {schema}ai_sentiment(input, model := NULL, on_error := 'null', params := NULL) AS
  {schema}sqlbatch_value(to_json(struct_pack("function" := 'ai_sentiment', model := model, params := params))::VARCHAR,
    {schema}sqlbatch_text(input), '"VARCHAR"', on_error);
CREATE OR REPLACE {temporary} MACRO {schema}ai_summarize(input, max_words := NULL, model := NULL, on_error := 'null', params := NULL) AS
  {schema}sqlbatch_value(to_json(struct_pack("function" := 'ai_summarize', max_words := max_words, model := model, params := params))::VARCHAR,
    {schema}sqlbatch_text(input), '"VARCHAR"', on_error);
CREATE OR REPLACE {temporary} MACRO {schema}ai_translate(input, "to", "then" := NULL, model := NULL, on_error := 'null', params := NULL) AS
  {schema}sqlbatch_value(to_json(struct_pack("function" := 'ai_translate', "to" := "to", "then" := "then", model := model, params := params))::VARCHAR,
    {schema}sqlbatch_text(input), '"VARCHAR"', on_error);
CREATE OR REPLACE {temporary} MACRO {schema}ai_redact(input, kinds := NULL, model := NULL, on_error := 'null', params := NULL) AS
  {schema}sqlbatch_value(to_json(struct_pack("function" := 'ai_redact', kinds := kinds, model := model, params := params))::VARCHAR,
    {schema}sqlbatch_text(input), '"VARCHAR"', on_error);
CREATE OR REPLACE {temporary} MACRO {schema}ai_fix_grammar(input, model := NULL, on_error := 'null', params := NULL) AS
  {schema}sqlbatch_value(to_json(struct_pack("function" := 'ai_fix_grammar', model := model, params := params))::VARCHAR,
    {schema}sqlbatch_text(input), '"VARCHAR"', on_error);
