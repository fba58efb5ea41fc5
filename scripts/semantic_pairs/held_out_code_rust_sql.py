INTENTS = r"""
code: What does `{x}` mean in a Rust function signature?
x = &str / &mut str / String / Option<&str> # code
p A Rust function has `{x}` in its signature. How should I read it?
s What is the meaning of `{x}` in the signature of a Rust function?
r In a Rust function signature, what does `{x}` mean?
- modality: When should `{x}` be in a Rust function signature?
- negation: Why can `{x}` not be in my Rust function signature?
- code: What does `Box<{x}>` mean in a Rust function signature?

code: How do I convert a `{x}` to a `{y}` in Rust?
x = u64 / Vec<u8> / HashSet<i32> # code
y = u8 / String / Vec<i32>
p In Rust I have a `{x}` and need a `{y}`. What do I write?
s How can I turn a `{x}` into a `{y}` in Rust?
r In Rust, how do I convert a `{x}` to a `{y}`?
- swap: How do I convert a `{y}` to a `{x}` in Rust?
- quantity: How do I convert a slice of many `{x}` values to `{y}` values in Rust?
- negation: Why can I not convert a `{x}` to a `{y}` in Rust with a plain assignment?
- modality: Can a `{x}` lose data if it is converted to a `{y}` in Rust?

code: When is a value {x} in Rust?
x = moved / copied / dropped # topic
p Under what conditions does Rust have a value {x}?
s At what moment does a value get {x} in Rust?
r In Rust, when is a value {x}?
- negation: When is a value not {x} in Rust although it goes out of scope?
- modality: Can a value be {x} twice in Rust?
- entity: When is a value {x} in C++?
- scope: Which value is {x} last at the end of a block in Rust?

code: How do I run only the {x} tests with cargo?
x = ignored / documentation / library # scope
p With cargo, which command runs just the {x} tests?
s How can I execute nothing but the {x} tests with cargo?
r With cargo, how do I run only the {x} tests?
- negation: How do I run all tests but the {x} ones with cargo?
- antonym: How do I skip only the {x} tests with cargo?
- number: How do I run only the {x} tests with cargo on two threads?
- topic: How do I list only the {x} tests with cargo?
- modality: Should I run only the {x} tests with cargo before a release?

code: What does the Rust compiler mean by "{x}"?
x = borrowed value does not live long enough / use of moved value / cannot borrow as mutable # topic
p How should I read the message "{x}" of the Rust compiler?
s What is the meaning of the Rust compiler's "{x}"?
r "{x}": what does the Rust compiler mean by this?
- negation: Why does the Rust compiler not say "{x}" here?
- antonym: How do I silence the Rust compiler when it says "{x}"?
- modality: Can the Rust compiler say "{x}" about unsafe code?
- subject: What does a Rust linter mean when it adds a hint to "{x}"?

code: How do I list all tables of a database in {x}?
x = postgres / mysql / sqlite # entity
p In {x}, which command shows me the tables that a database has?
s How can I show every table of a database in {x}?
r In {x}, how do I list all tables of a database?
- antonym: How do I drop all tables of a database in {x}?
- scope: How do I list the largest table of a database in {x}?
- negation: How do I list all tables without a primary key of a database in {x}?
- topic: How do I list all users of a database in {x}?
- swap: How do I list all databases that have a certain table in {x}?
- date: How do I list all tables of a database in {x} that were changed today?

code: Write a query for the orders placed {x}.
x = yesterday / last month / before 1 May # date
p I need a query that selects the orders that customers placed {x}.
s Write a query that finds the orders made {x}.
- negation: Write a query for the orders not placed {x}.
- quantity: Write a query for the number of orders placed {x}.
- scope: Write a query for the first of the orders placed {x}.
- antonym: Write a query that deletes the orders placed {x}.
- entity: Write a query for the invoices sent {x}.
- topic: Write a query for the customers whose orders were placed {x}.
< constraint: Write a query for the unpaid orders placed {x}.

code: Explain `{x}` with an example of two tables.
x = LEFT JOIN / RIGHT JOIN / INNER JOIN / FULL JOIN # code
p With two tables as an example, show me what `{x}` is about.
s Explain `{x}` by means of an example with two tables.
r With an example of two tables, explain `{x}`.
n Explain `{x}` with an example of 2 tables.
- number: Explain `{x}` with an example of four tables.
- negation: Explain with an example of two tables when one should not use `{x}`.
- modality: Must I use `{x}` when I have two tables?
- topic: Explain the speed of `{x}` with an example of two tables.
- code: Explain `{x} LATERAL` with an example of two tables.

code: How do I add {x} to an existing SQL table?
x = a column / an index / a foreign key # entity
p There is an SQL table already. How does it get {x}?
s How can I add {x} to a table that already exists in SQL?
r To an existing SQL table, how do I add {x}?
- antonym: How do I remove {x} from an existing SQL table?
- constraint: How do I add {x} to an existing SQL table without locking it?
- negation: Why can I not add {x} to an existing SQL table?
- quantity: How do I add {x} to every existing SQL table of a schema?
- topic: How do I rename {x} of an existing SQL table?

code: How do I group SQL rows by {x}?
x = hour / weekday / quarter # unit
p My SQL rows have a timestamp. How do I put those of the same {x} into one group?
s How can I aggregate SQL rows with a timestamp by {x}?
r By {x}, how do I group SQL rows that have a timestamp?
- antonym: How do I split an SQL row into several, one by {x}?
- scope: How do I get only the newest SQL row by {x}?
- topic: How do I partition an SQL table by {x}?
- constraint: How do I group SQL rows by {x} in the time zone of each user?
- negation: How do I find a {x} for which there are no SQL rows?

code: Is `{x}` true in SQL?
x = NULL = NULL / NULL IS NULL / 1 <> NULL / 1 IS NOT NULL # code
p Does SQL take `{x}` to be true?
s Does `{x}` hold in SQL?
r In SQL, is `{x}` true?
- negation: Why is `{x}` never false in SQL?
- entity: Is there something like `{x}` in MongoDB?
- modality: Where may `{x}` stand in an SQL statement?
"""
