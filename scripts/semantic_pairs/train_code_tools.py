INTENTS = r"""
code: How do I undo the last commit in git but keep the changes?
p I committed too early in git. How can I take the commit back without losing my edits?
s How can I take back the most recent commit in git while keeping the changes?
r In git, how do I undo the last commit but keep the changes?
- antonym: How do I undo the last commit in git and discard the changes?
- scope: How do I undo the first commit in git but keep the changes?
- number: How do I undo the last three commits in git but keep the changes?
- negation: How do I keep the last commit in git but undo the uncommitted changes?
- constraint: How do I undo the last commit in git but keep the changes when it is already pushed?

code: What does `git {x}` do?
x = stash pop / stash drop / stash apply / stash list # code
p What is the effect of `git {x}`?
s What happens when I run `git {x}`?
- modality: When should I run `git {x}`?
- negation: Why does `git {x}` not do anything?
- antonym: How do I undo `git {x}`?

code: How do I rename a {x} in git?
x = tag / stash entry / tracked folder # entity
p A {x} of mine in git has the wrong name. How do I give it another?
s How can I change the name of a {x} in git?
r In git, how do I rename a {x}?
- antonym: How do I restore the old name of a {x} in git?
- topic: How do I delete a {x} in git?
- quantity: How do I rename every {x} in git at once?
- constraint: How do I rename a {x} in git on the server as well?

code: How do I list all files larger than {x} in a folder on Linux?
x = 10 MB / 100 MB / 2 GB # number
p On Linux, which command shows the files of a folder that take more than {x}?
s How can I show all files bigger than {x} in a directory on Linux?
r On Linux, how do I list all files in a folder that are larger than {x}?
- antonym: How do I list all files smaller than {x} in a folder on Linux?
- topic: How do I delete all files larger than {x} in a folder on Linux?
- scope: How do I list the single largest file above {x} in a folder on Linux?
- entity: How do I list all files larger than {x} in a folder on Windows?
- date: How do I list all files larger than {x} changed since yesterday in a folder on Linux?

code: What does the flag `{x}` of `grep` mean?
x = -v / -i / -w / -x # code
p If I give `grep` the flag `{x}`, what changes?
s What is the meaning of the `{x}` option of `grep`?
- entity: What does the flag `{x}` of `curl` mean?
- negation: What does `grep` do without the flag `{x}`?
- modality: Should I always pass the flag `{x}` to `grep`?

code: How do I count the rows of a table in {x}?
x = Oracle / SQL Server / MariaDB
p In {x}, what query tells me how many rows a table has?
s How can I get the number of rows in a table in {x}?
r In {x}, how do I count the rows of a table?
- topic: How do I lock the rows of a table in {x}?
- entity: How do I count the columns of a table in {x}?
- scope: How do I count the distinct rows of a table in {x}?
- quantity: How do I count the rows of each table in {x}?
- constraint: How do I count the rows of a table in {x} without a full scan?

code: Write an SQL query for the {x} of each customer.
x = oldest invoice / newest invoice / largest invoice # scope
p Which SQL query gives, per customer, the {x}?
s Write an SQL statement that returns every customer's {x}.
r For each customer, write an SQL query for the {x}.
- quantity: Write an SQL query for the {x} of one given customer.
- antonym: Write an SQL statement that deletes the {x} of each customer.
- subject: Write an SQL query for the {x} of each supplier.
- constraint: Write an SQL query for the {x} of each customer without window functions.
- negation: Write an SQL query for the customers without an invoice.

code: What does the HTTP status code {x} mean?
x = 301 / 302 / 409 / 429 # number
p If a server answers with HTTP status {x}, what is it saying?
s What is the meaning of HTTP status code {x}?
- modality: When should a server send the HTTP status code {x}?
- topic: What body does a response with the HTTP status code {x} have?
- entity: What does the SMTP status code {x} mean?

code: How do I set a header with `curl` for a {x} request?
x = TRACE / PATCH / HEAD # entity
p With `curl`, which option adds a header to a {x} request?
s How can I add a header to a {x} request with `curl`?
r For a {x} request, how do I set a header with `curl`?
- antonym: How do I remove a default header with `curl` from a {x} request?
- topic: How do I set a timeout with `curl` for a {x} request?
- code: How do I set a header with `wget` for a {x} request?
- quantity: How do I set ten headers from a file with `curl` for a {x} request?

code: How do I make a shell script stop at the first {x}?
x = failing command / unset variable # topic
p What must I put into a shell script so that it ends as soon as there is one {x}?
s How can I make a shell script exit on the first {x}?
r At the first {x}, how do I make a shell script stop?
- negation: How do I make a shell script not stop at the first {x}?
- scope: How do I make a shell script stop at the third {x}?
- antonym: How do I make a shell script resume after the first {x}?
- entity: How do I make a makefile stop at the first {x}?

code: How do I run a shell command every {x}?
x = five minutes / five hours / ten seconds # unit
p I want a shell command repeated at intervals of {x}. How is that done?
s How can I execute a shell command every {x}?
r Every {x}, I want to run a shell command. How?
- scope: How do I run a shell command once, after {x}?
- antonym: How do I stop a shell command that runs every {x}?
- constraint: How do I run a shell command every {x} without `cron`?
- date: How do I run a shell command every {x} on Fridays?
- negation: Why does my shell command not run every {x}?
"""
