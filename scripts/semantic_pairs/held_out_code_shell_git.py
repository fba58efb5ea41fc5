INTENTS = r"""
code: What does `chmod {x} run.sh` do?
x = 644 / 755 / 700 / 600 # number
p If I run `chmod {x} run.sh`, what changes?
s What is the effect of `chmod {x} run.sh`?
- entity: What does `umask {x}` do before I create run.sh?
- modality: Who may run `chmod {x} run.sh`?
- antonym: How do I undo `chmod {x} run.sh`?
- code: What does `chmod {x} run.sh && ./run.sh` do?
- negation: Why does `chmod {x} run.sh` not work on a USB stick?

code: Which command shows the {x} lines of a log file?
x = first / last / longest # scope
p I want to see the {x} lines of a log file. What do I type?
s What command displays the {x} lines of a log file?
r The {x} lines of a log file: which command shows them?
- negation: Which command shows all but the {x} lines of a log file?
- antonym: Which command hides the {x} lines of a log file and deletes the rest?
< constraint: Which command shows the {x} lines of a compressed log file?
- unit: Which command shows the {x} bytes of a log file?

code: How do I delete files older than {x} with `find`?
x = seven days / seven hours / ninety days # unit
p With `find`, what gets rid of files that were last changed more than {x} ago?
s How can I remove files older than {x} with `find`?
r With `find`, how do I delete files older than {x}?
- antonym: How do I delete files newer than {x} with `find`?
- negation: How do I keep `find` from deleting files older than {x}?
- entity: How do I delete folders older than {x} with `find`?
< constraint: How do I delete empty files older than {x} with `find`?
- topic: How do I compress files older than {x} with `find`?

code: How do I copy a folder from {x} to {y} with `rsync`?
x = my laptop / a NAS # entity
y = a server / an external drive
p There is a folder on {x} that I need on {y}. How do I get it there with `rsync`?
s How can I transfer a folder from {x} to {y} with `rsync`?
r With `rsync`, how do I copy a folder from {x} to {y}?
- swap: How do I copy a folder from {y} to {x} with `rsync`?
< constraint: How do I copy a folder from {x} to {y} with `rsync` without its logs?
- antonym: How do I delete a folder on {x} that is already on {y} with `rsync`?
- quantity: How do I copy twenty folders from {x} to {y} with one `rsync` command?
- modality: Can `rsync` copy a folder from {x} to {y} while it changes?
- entity: How do I copy a folder from {x} to {y} with `scp`?

code: In bash, what does `{x}` stand for?
x = $? / $# / $@ / $$ # code
p I see `{x}` in a bash script. What is it?
s What is the meaning of `{x}` in bash?
r What does `{x}` stand for in bash?
- entity: In PowerShell, what does `{x}` stand for?
- modality: In bash, can I assign to `{x}`?
- negation: In bash, why is `{x}` not what I expect inside a function?

code: What does `{x}` redirect in a shell?
x = > out.txt / >> out.txt / 2> out.txt / < out.txt # code
p When a shell command ends with `{x}`, what goes where?
s In a shell, what is redirected by `{x}`?
r In a shell, what does `{x}` redirect?
- negation: When does `{x}` not work in a shell because of permissions?
- modality: May `{x}` stand before the command in a shell?
- topic: Which shell invented `{x}` first?

code: How do I {x} a submodule in git?
x = add / update / remove # antonym
p In git, what command do I use to {x} a submodule?
s What is the git command to {x} a submodule?
r In git, how do I {x} a submodule?
- quantity: How do I {x} fifty submodules in git with a loop?
- constraint: How do I {x} a submodule in git without network access?
- negation: Why does git not let me {x} a submodule?
- entity: How do I {x} a subtree in git?
- modality: Who may {x} a submodule in git on a protected server?

code: How do I merge `{x}` into `{y}`?
x = main / hotfix # entity
y = feature / release
p I want `{y}` to contain what is in `{x}`. How do I merge that in git?
s How can I merge the branch `{x}` into the branch `{y}`?
r Into `{y}`, how do I merge `{x}`?
- swap: How do I merge `{y}` into `{x}`?
- antonym: How do I undo a merge of `{x}` into `{y}`?
- topic: How do I rebase `{x}` onto `{y}`?
- negation: How do I see what of `{x}` is not yet merged into `{y}`?
- quantity: How do I take just one commit of `{x}` into `{y}`?
- constraint: How do I merge `{x}` into `{y}` without a merge commit?
- date: How do I see when `{x}` was last merged into `{y}`?
- modality: Should I merge `{x}` into `{y}`?

code: What is the difference between `{x}` and `{y}`?
x = git reset --soft / git branch -d / git fetch # code
y = git reset --hard / git branch -D / git pull
p How does `{x}` differ from `{y}`?
s What distinguishes `{x}` from `{y}`?
r Between `{x}` and `{y}`, what is the difference?
- modality: Can I undo `{x}` or `{y}`?
- scope: What does `{x}` do, leaving `{y}` aside?
- antonym: What is the same about `{x}` and `{y}`?
- negation: What do neither `{x}` nor `{y}` do?

code: How do I see who changed a line {x} in git?
x = last / first # scope
p In git, how do I find out which person was the {x} to change a line?
s How can I find out who edited a line {x} in git?
r In git, how do I see who changed a line {x}?
- topic: How do I see why somebody changed a line {x} in git?
- date: How do I see when somebody changed a line {x} in git?
- negation: How do I see which lines nobody has changed in git since the first commit?
- quantity: How do I see how many people changed a line in git?
- entity: How do I see who changed a file's mode {x} in git?

code: What does the regex `{x}` match?
x = ^a+$ / ^a*$ / ^a?$ / [^a]+$ # code
p Which strings are matched by the regex `{x}`?
s What texts match the regular expression `{x}`?
r The regex `{x}`: what does it match?
- negation: What does the regex `{x}` not match?
- modality: Can the regex `{x}` be slow?
- code: What does the regex `({x})|b` match?
- entity: What does the shell pattern `{x}` match?

code: In a regex, how do I match {x} digits?
x = exactly three / at least three / up to three # scope
p What regex stands for {x} digits?
s How can a regular expression match {x} digits?
r How do I match {x} digits in a regex?
- negation: In a regex, how do I match anything but {x} digits?
- number: In a regex, how do I match {x} digits and then five more?
- entity: In a regex, how do I match {x} letters?
- unit: In a regex, how do I match {x} groups of digits?
- constraint: In a regex, how do I match {x} digits at the start of a line?

code: How do I publish port {x} of a container on port {y} of the host?
x = 80 / 5432 / 6379 # number
y = 8080 / 15432 / 16379
p A container listens on {x}. How do I make it reachable on the host's port {y}?
s How can I map the container's port {x} to port {y} of the host?
r On port {y} of the host, how do I publish port {x} of a container?
- swap: How do I publish port {y} of a container on port {x} of the host?
- negation: How do I stop publishing port {x} of a container on port {y} of the host?
- constraint: How do I publish port {x} of a container on port {y} of the host for localhost only?
- entity: How do I publish port {x} of a virtual machine on port {y} of the host?
- modality: Can I publish port {x} of a running container on port {y} of the host?
- topic: How do I see the traffic to port {x} of a container on port {y} of the host?
"""
