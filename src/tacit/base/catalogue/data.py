"""Errors of the data area: what a site's table or arrays can get wrong."""

from __future__ import annotations

from tacit.base.catalogue.entry import Entry

DATA: dict[str, Entry] = {
    "data.not-clients": Entry(
        "The data is a {kind}, which does not say which client holds what.",
        "Pass {{name: (x, y)}}, {{name: (table, label)}}, a list of such, or an object with "
        "__len__, name and examples; divide a whole data set with tacit.data.split.",
    ),
    "data.lengths-differ": Entry(
        "Client {client} has {features} rows of features and {labels} labels.",
        "Give every row exactly one label.",
    ),
    "data.empty": Entry(
        "Client {client} has no examples.",
        "Leave the client out of the federation, or give it at least one record.",
    ),
    "data.shape": Entry(
        "Client {client} has examples of shape {found}; the contract says {expected}.",
        "Bring the data to the shape of the contract, or change the contract for every client.",
    ),
    "data.not-finite": Entry(
        "Client {client} has a NaN or infinite feature in row {row}.",
        "Fix the row at its source, or give the column a missing rule in the schema.",
    ),
    "data.label-not-finite": Entry(
        "Client {client} has a NaN or infinite label in row {row}.",
        "Fix or drop the row at its source.",
    ),
    "data.label-range": Entry(
        "Client {client} has a label outside the whole numbers 0 to {last} ({classes} classes).",
        "Map the labels to 0..{last}, or raise `classes` in the contract.",
    ),
    "data.range": Entry(
        "Client {client} has {outside} values outside the public range {low:g} to {high:g} of the "
        "contract.",
        "Correct or clamp the values at the site, or widen the range for every site.",
    ),
    "data.setting": Entry(
        "{column}: the setting {name} is {value!r}, which is not {rule}.",
        "Give {name} as {rule}.",
    ),
    "data.contradiction": Entry(
        "{column}: {name} is {value!r}, but {why}.",
        "Leave {name} out, or change the other setting.",
    ),
    "data.scaled": Entry(
        "Client {client} has {rows} rows of the feature {column} outside {low:g} to 1.",
        "Make the examples with schema.encode, which scales by the public ranges.",
    ),
    "data.column-lengths": Entry(
        "Client {client}: column {column} has {found} cells, others have {expected}.",
        "Give every column one cell a row, and every name one column.",
    ),
    "data.missing-column": Entry(
        "Client {client} has no column {column}{detail}.",
        '{hint}Name the site\'s own column as `from = "..."` under [columns.{column}] in the '
        "mapping, or say `absent = true` there if the site does not record it.",
    ),
    "data.repeated-column": Entry(
        "Client {client} has more than one column for {column}{detail}.",
        "Rename or remove all but one in the site's table.",
    ),
    "data.no-header": Entry(
        "Client {client}: the first line of the file holds values, not column names.",
        "Say `header = false` and list the column names as `names = [...]` under [file] in the "
        "mapping.",
    ),
    "data.ragged-rows": Entry(
        "Client {client} has {cells} of another length than {expected}{detail}.",
        "Complete the truncated rows, or quote cells that contain the delimiter.",
    ),
    "data.not-a-number": Entry(
        "Client {client}: column {column} has {cells} without a number{detail}.",
        "Correct the cells; or list texts that mean not known as `missing = [...]` in the mapping, "
        "under [columns.{column}] or, for all columns, under [file]. A decimal comma needs "
        '`decimal = ","` under [file].',
    ),
    "data.unknown-category": Entry(
        "Client {client}: column {column} has {cells} outside its categories{detail}.",
        "Translate each text under [columns.{column}.values] in the mapping to one of: {allowed}; "
        "or list it as `missing = [...]` if it means not known.",
    ),
    "data.outside": Entry(
        "Client {client}: column {column} has {cells} outside the public range {allowed}{detail}.",
        "Under [columns.{column}] in the mapping, convert the unit with `factor` and `offset`, or "
        "list a code that means not known as `missing = [...]`. True values beyond the range need "
        "a wider range in the schema, for every site.",
    ),
    "data.missing": Entry(
        "Client {client}: column {column} has {cells} empty, which its rule refuses{detail}.",
        'Complete the cells; or agree with all sites on `missing = "fill"` or "drop" for '
        "{column} in the schema.",
    ),
    "data.no-usable-rows": Entry(
        "Client {client} has no usable row: the missing rules leave none of {rows}.",
        "Complete the columns whose rule is to drop the row, or leave the client out.",
    ),
    "data.dropped-rows": Entry(
        "Client {client}: the missing rules drop {rows} of {total} rows.",
        "Fine if meant so; otherwise complete the cells at their source.",
    ),
    "data.mostly-missing": Entry(
        "Client {client}: column {column} is empty in {percent:.0f} % of the rows.",
        "Fine if meant so: the schema's constant stands in for it. Check the column's name and the "
        "codes for not known in the mapping.",
    ),
    "data.constant-column": Entry(
        "Client {client}: column {column} has the same value in every row.",
        "Fine if it is true of the site; otherwise check the column's source in the mapping.",
    ),
    "data.nearly-one-class": Entry(
        "Client {client}: {percent:.1f} % of the labels {column} are of one class.",
        "Fine, but alone the site cannot learn the other classes, and its own test score says "
        "little.",
    ),
    "data.mapping": Entry(
        "Client {client}: the mapping does not fit the schema{detail}.",
        "{hint}Correct the mapping, or use the schema it was written for.",
    ),
    "data.file": Entry(
        "Client {client}: the file {file} cannot be read: {why}.",
        "Give the path of the site's CSV file, readable by this user.",
    ),
    "data.encoding": Entry(
        "Client {client}: {file} is not {encoding} text (line {line}).",
        'Export the table as CSV in UTF-8, or name its encoding as `encoding = "..."` under '
        "[file] in the mapping.",
    ),
    "data.csv": Entry(
        "Client {client}: {file} is not valid CSV from line {line} on: {problem}.",
        "Look for a quote that is not closed, or quoted text that goes on behind its quote.",
    ),
    "data.delimiter": Entry(
        "Client {client}: {file} has one column when split at {found!r}; {likely} splits it.",
        "Say `delimiter = {likely}` under [file] in the mapping.",
    ),
    "data.no-rows": Entry(
        "Client {client}: {file} holds no rows.",
        "Export the table again, or leave the client out.",
    ),
    "data.no-schema": Entry(
        "{file} holds no table schema: {problem}.",
        "Give a schema file with [[columns]] and [label], a federation file whose [data] is one, "
        "or the name of a bundled schema: {bundled}.",
    ),
    "data.cannot-write": Entry(
        "{path} cannot be written: {why}.",
        "Free space, or choose a place where this user may write.",
    ),
    "data.corrupt": Entry(
        "The bundled file {file} is not the one that was released: its SHA-256 differs.",
        "Install the package again.",
    ),
    "data.parts": Entry(
        "The parts give {problem}.",
        "Give every client its own records: each index once, from 0 to {last}.",
    ),
    "data.unknown-source": Entry(
        "Client {client} has a {kind}, which is not a form of data that tacit reads.",
        "Give (x, y), a table (pandas, Arrow, a Parquet file, Hugging Face `datasets`) with its "
        "label, or a data set with __len__ and __getitem__ whose items are (x, y).",
    ),
    "data.no-label": Entry(
        "Client {client} has a table with the columns {columns}; which is the label is not said.",
        'Give (table, "label") as the client\'s data, use tacit.data.clients(tables, '
        'label="..."), or encode the tables with a Schema: tacit.data.clients(tables, '
        "schema=...).",
    ),
    "data.no-column": Entry(
        "Client {client} has no column {column}; it has {columns}.",
        "{hint}Name a column that every client's table has.",
    ),
    "data.not-numbers": Entry(
        "Client {client}: column {column} holds {found}, not numbers.",
        "Encode the table with a Schema, which knows categories and missing cells, or leave the "
        "column out of `features`.",
    ),
    "data.parquet": Entry(
        "Client {client}: the file {file} cannot be read as Parquet: {why}.",
        "Give the path of a Parquet file that this user may read; read_site reads CSV files.",
    ),
    "data.item": Entry(
        "Client {client}: its data set fails at index {index}: {problem}.",
        "Mend that item or leave it out (torch.utils.data.Subset takes a list of indices).",
    ),
    "data.item-shape": Entry(
        "Client {client}: item {index} of its data set has {part} of shape {found}, the items "
        "before it {expected}.",
        "Pad, crop or resize in the data set, so that all items have one shape.",
    ),
    "data.public-missing": Entry(
        "{file} of the data set {name} is not on this computer (looked in {looked}), and {url} "
        "cannot be reached: {why}.",
        "Download {url} on a computer that is online, put it in a folder {name} somewhere here, "
        "and set TACIT_DATA to the folder above that one.",
    ),
    "data.public-leaf": Entry(
        "The data set {name} is not on this computer (looked for train/*.json and test/*.json in "
        "{looked}), and LEAF publishes no ready file of it to download.",
        "In a copy of github.com/TalwalkarLab/leaf run `./preprocess.sh -s niid --sf 0.05 -k 0 "
        "-t sample` in data/{name}, then set TACIT_DATA to that copy's folder data.",
    ),
    "data.public-truncated": Entry(
        "The download of {url} ended after {found} of {expected} bytes.",
        "Try again; nothing was kept.",
    ),
    "data.public-digest": Entry(
        "{place} is not the published file: its SHA-256 begins with {found}, not {expected}.",
        "Remove the file if it is on this computer, and try again. If it happens again, somebody "
        "on the way changes the file: fetch it over another network.",
    ),
    "data.frozen-weights": Entry(
        "The frozen weights of the model are not those of the federation: their SHA-256 begins "
        "with {found}, not {expected}.",
        "Get the base model's file from where the federation names it: its adapters fit no other.",
    ),
    "data.public-format": Entry(
        "{file} is not {what}: {problem}.",
        "Put the file there as its authors publish it.",
    ),
}
