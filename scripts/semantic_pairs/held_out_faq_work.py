INTENTS = r"""
faq: How many vacation days does {x} get per year?
x = an employee / a contractor / an apprentice # subject
p What is the yearly holiday allowance for {x}?
s How many days of leave does {x} have each year?
r Per year, how many vacation days does {x} get?
- antonym: How many days does {x} work per year?
- unit: How many vacation days does {x} get per month?
- topic: How many sick days does {x} get per year?
- modality: How many vacation days must {x} take per year?
< constraint: How many vacation days does {x} over sixty get per year?
- date: How many vacation days did {x} get per year before 2010?

faq: I'm ill today. Whom do I have to tell?
p Who needs to be informed that I am sick and not coming in today?
s I am sick today. Whom must I inform?
r Whom do I have to tell that I'm ill today?
- date: I was ill last week. Whom do I have to tell?
- negation: I'm ill today. Who must not be told?
- subject: My assistant is ill today. Whom do I have to tell?
- antonym: I'm well again today. Whom do I have to tell?
- modality: I'm ill today. Who may ask me why?

faq: When will my {x} salary be paid?
x = March / June / December # date
p On what date do I get my {x} pay?
s When will I receive my {x} wages?
- topic: How will my {x} salary be taxed?
- negation: Why was my {x} salary not paid?
- modality: When must my {x} salary be paid by law?
- subject: When will the interns' {x} salary be paid?
- quantity: When will the second half of my {x} salary be paid?

faq: Where can I download my payslips?
p On which page are my payslips available as files?
s Where can I get my pay statements for download?
- antonym: Where can I upload my timesheets?
- subject: Where can I download my team's payslips as a manager?
- scope: Where can I see the sum of all my payslips?
- constraint: Where can I download my payslips outside the company network?
- date: Where can I download my payslips from before 2015?

faq: What is the notice period during probation?
p If I leave while on probation, how far ahead must notice be given?
s How long is the period of notice in the trial period?
r During probation, what is the notice period?
- antonym: What is the notice period after probation?
- topic: What is the salary during probation?
- negation: What if I do not observe the notice period during probation?
- swap: Does probation go on during the notice period?
- subject: What notice period must the company keep during probation?

faq: Who approves overtime of more than {x} a week?
x = four hours / ten hours # number
p Whose permission is needed for over {x} of extra work in a week?
s Who authorizes overtime exceeding {x} per week?
r For overtime of more than {x} a week, who gives approval?
- antonym: Who approves a working week that is more than {x} shorter?
- unit: Who approves overtime of more than {x} a month?
- modality: Can my boss order overtime of more than {x} a week?
- constraint: Who approves unpaid overtime of more than {x} a week?
- negation: Who may not do overtime of more than {x} a week?
- scope: Who approves any overtime at all, even less than {x} a week?

faq: How do I claim travel costs for a trip to a {x}?
x = trade fair / job interview / branch office # entity
p I travelled to a {x}. How do I get my costs paid back?
s How can I get reimbursed for travel to a {x}?
r For a trip to a {x}, how do I claim travel costs?
- antonym: How do I pay travel costs in advance for a trip to a {x}?
- topic: How do I claim the hotel minibar for a trip to a {x}?
- constraint: How do I claim travel costs for a trip to a {x} without receipts?
- subject: How do I claim an applicant's travel costs for a trip to a {x}?
- modality: May I claim travel costs for a trip to a {x}?

faq: Can I work from home {x} a week?
x = a single day / three days / four days # quantity
p Would it be all right to do my job from my own house {x} a week?
s Am I allowed to work remotely {x} a week?
- antonym: Can I work from the office {x} a week?
- modality: Do I have to work from home {x} a week?
- unit: Can I work from home {x} a month?
- negation: Why can I not work from home {x} a week?
- constraint: Can I work from home abroad {x} a week?

faq: How do I add a newborn to my health plan?
p We just had a baby. How do I get the child covered by my health plan?
s How can I include a newborn in my health insurance?
r To my health plan, how do I add a newborn?
- antonym: How do I remove a grown-up son from my health plan?
- swap: How do I add a health plan for my newborn alone?
- subject: How do I add a spouse to my health plan?
- date: How do I add a newborn to my health plan a year after birth?
- modality: Must I add a newborn to my health plan?

faq: What happens to unused leave at the end of the year?
p If I don't take all my days off, what becomes of them after the year is over?
s What becomes of leftover holiday at year's end?
r At the end of the year, what happens to unused leave?
- antonym: What happens to used leave at the end of the year?
< constraint: What happens to unused leave at the end of the year after parental leave?
- unit: What happens to unused leave at the end of the month?
- topic: What happens to unused training budget at the end of the year?
- modality: Can unused leave be paid out at the end of the year?
- subject: What happens to a dead colleague's unused leave?

faq: How do I refer a friend for a vacancy?
p A friend of mine would suit an open job here. How do I recommend them?
s How can I recommend a friend for an open position?
r For a vacancy, how do I refer a friend?
- swap: How does a friend refer me for a vacancy?
- negation: How do I decline to refer a friend for a vacancy?
- topic: How do I interview a friend for a vacancy?
- quantity: How many friends may I refer for one vacancy?
- constraint: How do I refer a friend for a vacancy anonymously?

faq: Which public holidays fall on a {x} this year?
x = Tuesday / Friday # date
p This year, what are the public holidays that are on a {x}?
s Which bank holidays fall on a {x} this year?
r On a {x}, which public holidays fall this year?
- negation: Which public holidays do not fall on a {x} this year?
- date: Which public holidays fall on a {x} next year?
- scope: What is the last public holiday that falls on a {x} this year?
- topic: Which trains are cancelled on the public holidays that fall on a {x} this year?
- topic: Which school exams fall on a {x} this year?
"""
