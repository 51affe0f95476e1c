#include "tests/contract/contract.h"
const struct contract_case fault_cases[]={{NULL,NULL}},register_cases[]={{NULL,NULL}}, exception_cases[]={{NULL,NULL}}, interrupt_cases[]={{NULL,NULL}},space_cases[]={{NULL,NULL}}, life_cases[]={{NULL,NULL}};
